"""A page of another origin, open in the operator's own browser, gets nothing from the weaver.

The browser holds the operator's cookie. Two strangers attack: one on another port of the same host
name, to whom browsers send that cookie, and one of another site.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from harness.browser import browsing, looking, stranger
from harness.faults import holds
from harness.stage import weaving
from harness.trainers import PLAIN, training

STOP = {"type": "stop", "id": "attack", "run": "victim"}
LOOK = {"type": "subscribe", "id": "attack", "metrics": True}

OPEN_SOCKET = """([url, messages]) => new Promise((resolve) => {
  const seen = [];
  const socket = new WebSocket(url);
  socket.onopen = () => messages.forEach((one) => socket.send(JSON.stringify(one)));
  socket.onmessage = (event) => { seen.push(event.data); socket.close(); };
  socket.onclose = () => resolve(seen);
})"""
FETCH = """async ([url, options]) => {
  try {
    const answer = await fetch(url, options);
    return await answer.text();
  } catch (error) {
    return null;
  }
}"""
FRAME = """([attributes, name]) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  Object.assign(frame, attributes);
  if (name) frame.name = name;
  frame.onload = () => {
    let text = null;
    try { text = frame.contentDocument && frame.contentDocument.body.innerText; } catch (e) {}
    resolve(text);
  };
  document.body.append(frame);
})"""
SANDBOXED = """([text]) => new Promise((resolve) => {
  addEventListener("message", (event) => resolve(event.data), { once: true });
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.srcdoc = text;
  document.body.append(frame);
})"""
LOAD = """([tag, url]) => new Promise((resolve) => {
  const element = document.createElement(tag);
  element.onload = () => resolve("loaded");
  element.onerror = () => resolve("refused");
  element.src = url;
  document.body.append(element);
})"""


class Scene:
    """A weaver with a victim in training, and the operator's browser, logged in."""

    def __init__(self, weaver, page, ports):
        self.weaver = weaver
        self.page = page
        self.ports = ports
        self.port = urlsplit(weaver.endpoint.http_url).port
        self.http = f"http://127.0.0.1:{self.port}"
        self.ws = f"ws://127.0.0.1:{self.port}/ws"

    def visit(self, host):
        self.page.goto(f"http://{host}:{self.ports}/")

    def still_trains(self):
        """Nobody has commanded anything: the log of the victim holds its beginning alone."""
        with self.weaver.client() as client:
            kinds = {update.entry.kind for update in client.log("victim")}
        return kinds <= {"begin"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """One scene for all attacks; each leaves it as it was, or fails."""
    folder = tmp_path_factory.mktemp("hostile") / "home"
    with (
        weaving(folder) as weaver,
        training(PLAIN, WEAVELET_HOME=str(folder), WEAVELET_RUN="victim") as trainer,
        stranger() as port,
        browsing(evil__test=1, rebound__test=1) as browser,
        looking(browser) as page,
    ):
        trainer.event("started")
        scene = Scene(weaver, page, port)
        page.goto(f"{scene.http}/healthz")
        status = page.evaluate(
            "async (token) => (await fetch('/session', {method: 'POST',"
            " body: JSON.stringify({token})})).status",
            weaver.endpoint.token,
        )
        assert status == 204
        with weaver.client() as client:
            holds(lambda: client.jobs(["victim"]), 30, "the victim")
        yield scene


STRANGERS = pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.test"])


def test_the_operators_own_page_gets_in(scene):
    """With the cookie and the page's own origin the socket answers: the attacks could succeed."""
    scene.page.goto(f"{scene.http}/healthz")
    seen = scene.page.evaluate(OPEN_SOCKET, [scene.ws, [LOOK]])
    assert json.loads(seen[0])["type"] == "snapshot"


@STRANGERS
def test_a_socket_from_elsewhere(scene, host):
    """Neither a look nor a command goes through a foreign page's WebSocket."""
    scene.visit(host)
    assert scene.page.evaluate(OPEN_SOCKET, [scene.ws, [LOOK, STOP]]) == []
    assert scene.still_trains()


@STRANGERS
@pytest.mark.parametrize("mode", ["cors", "no-cors"])
def test_a_fetch_from_elsewhere(scene, host, mode):
    """What a foreign page fetches with the cookie it cannot read."""
    scene.visit(host)
    for path in ("/", "/healthz", "/metrics", "/ws"):
        options = {"credentials": "include", "mode": mode}
        assert not scene.page.evaluate(FETCH, [scene.http + path, options])


@STRANGERS
def test_a_log_in_from_elsewhere(scene, host):
    """A foreign page cannot try tokens: not even a right one gets an answer or a cookie."""
    scene.visit(host)
    before = scene.page.context.cookies()
    options = {
        "method": "POST",
        "credentials": "include",
        "mode": "no-cors",
        "body": json.dumps({"token": scene.weaver.endpoint.token}),
    }
    assert not scene.page.evaluate(FETCH, [f"{scene.http}/session", options])
    assert scene.page.context.cookies() == before


@STRANGERS
def test_a_form_from_elsewhere(scene, host):
    """A form that a foreign page sends by itself is refused."""
    scene.visit(host)
    with scene.page.expect_navigation():
        scene.page.evaluate(
            """([url]) => {
              const form = document.createElement("form");
              form.method = "post"; form.enctype = "text/plain"; form.action = url;
              const field = document.createElement("input");
              field.name = '{"token": "x", "rest": "'; field.value = '"}';
              form.append(field); document.body.append(form); form.submit();
            }""",
            [f"{scene.http}/session"],
        )
    assert "not accepted" in scene.page.inner_text("body")


@STRANGERS
def test_a_frame_around_the_page(scene, host):
    """The page cannot be framed, so nobody can be made to click in it unawares."""
    scene.visit(host)
    scene.page.evaluate(FRAME, [{"src": f"{scene.http}/"}, "inside"])
    # By its place: a frame that shows an error may have lost its name.
    (inside,) = scene.page.main_frame.child_frames
    assert not inside.url.startswith(scene.http), inside.content()


def test_a_page_without_an_origin(scene):
    """A sandboxed frame, whose origin is `null`, gets neither socket nor answer."""
    scene.visit("127.0.0.1")
    script = f"""<script>
      const socket = new WebSocket({json.dumps(scene.ws)});
      const seen = [];
      socket.onopen = () => socket.send({json.dumps(json.dumps(STOP))});
      socket.onmessage = (event) => seen.push(event.data);
      socket.onclose = async () => {{
        try {{
          seen.push(await (await fetch({json.dumps(scene.http + "/healthz")},
                                       {{credentials: "include"}})).text());
        }} catch (error) {{}}
        parent.postMessage(seen, "*");
      }};
    </script>"""
    assert scene.page.evaluate(SANDBOXED, [script]) == []
    assert scene.still_trains()


@STRANGERS
@pytest.mark.parametrize("tag", ["script", "img"])
def test_an_answer_included_as_something_else(scene, host, tag):
    """Scripts and pictures of a foreign page cannot pull in what the weaver serves."""
    scene.visit(host)
    for path in ("/", "/healthz", "/metrics"):
        assert scene.page.evaluate(LOAD, [tag, scene.http + path]) == "refused"


def test_a_name_that_is_bound_anew_to_this_machine(scene):
    """A page whose own host name comes to mean 127.0.0.1 is refused for that name."""
    answer = scene.page.goto(f"http://rebound.test:{scene.port}/healthz")
    assert answer.status == 421
    assert scene.page.evaluate(OPEN_SOCKET, [f"ws://rebound.test:{scene.port}/ws", [LOOK]]) == []


@STRANGERS
def test_a_window_that_is_opened(scene, host):
    """The page opened by a foreign one cannot be read, written or messaged through the handle."""
    scene.visit(host)
    with scene.page.context.expect_page() as opened:
        scene.page.evaluate(
            "(url) => { window.theirs = window.open(url); }", f"{scene.http}/healthz"
        )
    page = opened.value
    page.wait_for_load_state()
    assert page.evaluate("window.opener") is None
    scene.page.wait_for_function("window.theirs.closed")  # as far as the opener can see
    page.close()

"""The page in a real browser, on a real weaver, with real trainings."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import expect

import weavelet.weaver
from harness.browser import browsing, looking
from harness.faults import go_on, holds, stop
from harness.stage import weaving
from harness.trainers import LOOP, training

pytestmark = pytest.mark.timeout(300)

SCREENSHOTS = Path(
    os.environ.get("WEAVELET_SCREENSHOTS", Path(__file__).parents[2] / "build" / "screenshots")
)
TURNED_MS = 5000
"""Within a second on a quiet machine; this one may be busy."""
RUN = "digits"
STRANGE = '<img src=x onerror="window.hacked=1">\u202eevil\u202c \U0001f525'
TRAINER = (
    LOOP
    + f"""
import math, os
STRANGE = {STRANGE!r}
NAMED = {{"a" * 65536: 1.0}} if "LONG_NAME" in os.environ else {{}}

with weavelet.session(sys.argv[1]) as w:
    declare(w)

    @w.handler("mode", get=lambda: state.get("mode", "cosine"), danger=True)
    def set_mode(value: __import__("typing").Literal["cosine", "linear"]) -> None:
        state["mode"] = value

    say(started=w.incarnation)
    step = 0
    while True:
        for change in w.poll(step):
            say(step=step, change=change.name, old=change.old, new=change.new)
        loss = math.nan if step == 40 else 1.0 / (step + 1)
        w.report(step, loss=loss, lr=state["lr"], **{{STRANGE: float(step), **NAMED}})
        step += 1
        time.sleep(0.02)
say(stopped=w.stopped)
"""
)


BACKGROUND = "getComputedStyle(document.querySelector('.v-application')).backgroundColor"


@pytest.fixture(scope="module", autouse=True)
def built():
    """The page is part of the wheel; in a checkout it is built by hand."""
    page = Path(weavelet.weaver.__file__).parent / "static" / "index.html"
    if not page.is_file():
        pytest.fail(f"no page at {page}: npm ci --ignore-scripts && npm run build in weaver/ui")


@pytest.fixture(scope="module")
def browser():
    """One Chromium for all."""
    with browsing() as browser:
        yield browser


@pytest.fixture
def weaver(tmp_path):
    """A weaver of the test's own."""
    with weaving(tmp_path / "home") as weaver:
        yield weaver


@contextmanager
def trainer(weaver, replica="trainer-0"):
    """A training that goes on until it is ended."""
    names = {"WEAVELET_RUN": RUN, "WEAVELET_JOB": "j1", "WEAVELET_HOME": str(weaver.home)}
    with training(TRAINER, replica, **names) as trainer:
        trainer.event("started")
        yield trainer


@contextmanager
def page_of(browser, weaver, *, run=None, token=None, **options):
    """The page, opened by the link that `up` prints; at a run, if one is named."""
    violations = []
    with looking(browser, **options) as page:
        page.on(
            "console",
            lambda message: (
                violations.append(message.text)
                if "Content Security Policy" in message.text
                else None
            ),
        )
        page.goto(f"{weaver.endpoint.http_url}/#token={token or weaver.endpoint.token}")
        if run is not None:
            at(page, "run-link").filter(has_text=run).click()
            expect(at(page, "run")).to_be_visible()
        yield page
    assert violations == []


def at(page, name):
    """What the page calls by a name."""
    return page.locator(f'[data-test="{name}"]')


def row(page, replica="trainer-0"):
    return page.locator(f'[data-test="replica-row"][data-replica="{replica}"]')


def state(page, replica="trainer-0"):
    return row(page, replica).locator('[data-test="state"]')


def step(page, replica="trainer-0"):
    """The step in a row, 0 where there is none yet."""
    text = row(page, replica).locator('[data-test="step"]').inner_text()
    return int(text.replace(",", "") or 0)


def picture(page, name):
    """Keep what the page looks like."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def current(page, control):
    """What the form says that a control is now."""
    return page.locator(f'[data-test="control-{control}"] [data-test="control-current"]')


def write(page, control, text):
    page.locator(f'[data-test="field-{control}"] input').fill(text)


def test_in_by_the_link(browser, weaver):
    """The link opens the fleet; the token leaves the address bar for a cookie."""
    with trainer(weaver), page_of(browser, weaver) as page:
        expect(row(page)).to_be_visible()
        expect(state(page)).to_contain_text("running")
        assert "token" not in page.url
        (cookie,) = page.context.cookies()
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        assert page.evaluate("document.cookie") == ""
        picture(page, "fleet")
        page.reload()
        expect(row(page)).to_be_visible()


def test_without_a_token(browser, weaver):
    """Who has no token, or a wrong one, is told where the link comes from, and sees nothing."""
    with page_of(browser, weaver, token="wrong") as page:
        expect(at(page, "enter")).to_contain_text("weavelet up")
        page.goto(f"{weaver.endpoint.http_url}/")
        expect(at(page, "enter")).to_contain_text("weavelet up")
        assert at(page, "fleet").count() == 0


def test_the_loss_moves(browser, weaver):
    """The chart's last value changes by itself, and what is not a number is drawn as that."""
    with trainer(weaver), page_of(browser, weaver, run=RUN) as page:
        chart = page.locator('[data-test="metric-chart"]', has_text="loss").first
        value = chart.locator('[data-test="chart-value"]').first
        expect(value).not_to_have_text("-")
        first = value.inner_text()
        expect(value).not_to_have_text(first)
        holds(lambda: step(page) > 60)
        expect(chart.locator('[data-test="chart-plot"]')).to_have_attribute(
            "aria-label", re.compile("not finite|NaN", re.IGNORECASE)
        )


def test_a_control_is_set_in_its_form(browser, weaver):
    """The page says at which step, from what to what; so does the trainer; the chart shows it."""
    with trainer(weaver) as training, page_of(browser, weaver, run=RUN) as page:
        write(page, "lr", "0.05")
        at(page, "control-send").click()
        outcome = at(page, "command-outcome").first
        expect(outcome).to_have_attribute("data-state", "applied")
        expect(outcome.locator('[data-test="outcome-change"]')).to_have_text("lr: 0.1 → 0.05")
        seen = training.event("change")
        assert (seen["change"], seen["new"]) == ("lr", 0.05)
        expect(outcome.locator('[data-test="outcome-row"]')).to_contain_text(str(seen["step"]))
        mark = page.get_by_role("button", name=re.compile(rf"{seen['step']}.*lr"))
        expect(mark.first).to_be_attached()
        expect(current(page, "lr")).to_contain_text("0.05")
        picture(page, "run")


def test_what_is_refused_says_why(browser, weaver):
    """A misfit is stopped in the form; what a handler refuses comes back with its own words."""
    with trainer(weaver) as training, page_of(browser, weaver, run=RUN) as page:
        write(page, "lr", "banana")
        at(page, "control-send").click()
        expect(page.locator('[data-test="control-lr"]')).to_contain_text("expected a number")
        write(page, "lr", "0.2")
        write(page, "gain", "-1")
        at(page, "control-send").click()
        outcome = at(page, "command-outcome").first
        expect(outcome).to_have_attribute("data-state", "failed")
        expect(outcome).to_contain_text("no gain below zero")
        expect(current(page, "lr")).to_contain_text("0.1")
        assert training.process.poll() is None


def test_danger_asks_first(browser, weaver):
    """A control that is marked as dangerous is sent once its name was typed, and not before."""
    with trainer(weaver) as training, page_of(browser, weaver, run=RUN) as page:
        page.locator('[data-test="field-mode"]').click()
        page.get_by_role("option", name="linear").click()
        at(page, "control-send").click()
        expect(at(page, "confirm-yes")).to_be_disabled()
        page.locator('[data-test="confirm-typed"] input').fill("mode")
        at(page, "confirm-yes").click()
        assert training.event("change")["new"] == "linear"


def test_pause_resume_stop(browser, weaver):
    """Pause holds the step, resume moves it, stop ends the script with exit code 0."""
    with trainer(weaver) as training, page_of(browser, weaver, run=RUN) as page:
        at(page, "pause").click()
        at(page, "confirm-yes").click()
        expect(state(page)).to_contain_text("paused")
        held = step(page)
        at(page, "resume").click()
        at(page, "confirm-yes").click()
        expect(state(page)).to_contain_text("running")
        holds(lambda: step(page) > held)
        at(page, "stop").click()
        at(page, "confirm-yes").click()
        assert training.wait() == 0
        expect(state(page)).to_contain_text("exited")


def test_an_action_returns_its_result(browser, weaver):
    """An action is run from the page, and what it returned is shown."""
    with trainer(weaver), page_of(browser, weaver, run=RUN) as page:
        action = at(page, "action-evaluate")
        action.locator('[data-test="action-run"]').click()
        expect(action.locator('[data-test="command-outcome"]')).to_have_attribute(
            "data-state", "applied"
        )
        expect(action.locator('[data-test="result"]')).to_contain_text("accuracy")


def test_a_killed_trainer_turns_its_row(browser, weaver, figure):
    """kill -9: its row soon says crashed; the others go on."""
    with (
        trainer(weaver) as training,
        trainer(weaver, "trainer-1"),
        page_of(browser, weaver) as page,
    ):
        for replica in ("trainer-0", "trainer-1"):
            expect(state(page, replica)).to_contain_text("running")
        training.signal(signal.SIGKILL)
        began = time.monotonic()
        expect(state(page)).to_contain_text("crashed", timeout=TURNED_MS)
        figure(f"row turned {time.monotonic() - began:.2f} s after kill -9")
        expect(state(page, "trainer-1")).to_contain_text("running")
        picture(page, "crashed")


def test_the_truth_after_a_restart_of_the_weaver(browser, weaver):
    """While the weaver is dead the page says so; it comes back by itself, with the truth."""
    with trainer(weaver) as training, page_of(browser, weaver, run=RUN) as page:
        expect(state(page)).to_contain_text("running")
        with weaver.client() as client:
            assert client.set(RUN, {"lr": 0.07}).ok
        before = step(page)
        weaver.kill()
        expect(at(page, "connection-lost")).to_contain_text("Connection lost")
        picture(page, "lost")
        weaver.start()
        expect(at(page, "connection-lost")).to_have_count(0)
        holds(lambda: step(page) > before)
        expect(at(page, "log-rows")).to_contain_text("lr")
        expect(current(page, "lr")).to_contain_text("0.07")
        write(page, "lr", "0.03")
        at(page, "control-send").click()
        expect(at(page, "command-outcome").first).to_have_attribute("data-state", "applied")
        training.signal(signal.SIGKILL)
        expect(state(page)).to_contain_text("crashed")


def test_a_name_that_is_too_long_to_ask_for(browser, weaver):
    """A metric with a name of 64 kB has a chart that says so; all else of the page works."""
    names = {"WEAVELET_RUN": RUN, "WEAVELET_JOB": "j1", "WEAVELET_HOME": str(weaver.home)}
    with training(TRAINER, "trainer-0", LONG_NAME="1", **names), looking(browser) as page:
        sockets = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        page.goto(f"{weaver.endpoint.http_url}/#token={weaver.endpoint.token}")
        at(page, "run-link").filter(has_text=RUN).click()
        expect(at(page, "no-past")).to_have_count(1)
        charts = at(page, "metric-chart")
        loss = charts.filter(has=page.get_by_role("heading", name="loss")).first
        expect(loss.locator('[data-test="chart-value"]').first).not_to_have_text("-")
        write(page, "lr", "0.05")
        at(page, "control-send").click()
        expect(at(page, "command-outcome").first).to_have_attribute("data-state", "applied")
        assert len(sockets) == 1


def test_a_weaver_that_hangs_is_noticed(browser, weaver):
    """Stopped, it closes no connection; yet the page says so, and comes back with the truth.

    What it was told meanwhile may or may not have been stored, until the log shows which.
    """
    with trainer(weaver), page_of(browser, weaver, run=RUN) as page:
        expect(state(page)).to_contain_text("running")
        before = step(page)
        write(page, "lr", "0.07")
        stop(weaver.pid)
        try:
            at(page, "control-send").click()
            expect(at(page, "connection-lost")).to_contain_text("Nothing is heard", timeout=12_000)
            for verb in ("pause", "stop", "control-send"):
                expect(at(page, verb)).to_be_disabled()
            expect(at(page, "trouble")).to_contain_text("not known whether it was stored")
        finally:
            go_on(weaver.pid)
        expect(at(page, "connection-lost")).to_have_count(0)
        holds(lambda: step(page) > before)
        expect(current(page, "lr")).to_contain_text("0.07")
        expect(at(page, "trouble")).to_have_count(0)
        expect(at(page, "command-outcome").first).to_have_attribute("data-state", "applied")


def test_a_machine_without_a_network_is_noticed(browser, weaver):
    """The browser says so before any silence does; it comes back with the network."""
    with trainer(weaver), page_of(browser, weaver, run=RUN) as page:
        expect(state(page)).to_contain_text("running")
        page.context.set_offline(True)
        expect(at(page, "connection-lost")).to_contain_text("no network", timeout=4000)
        page.context.set_offline(False)
        expect(at(page, "connection-lost")).to_have_count(0)


def test_a_viewer_looks_and_commands_nothing(browser, weaver):
    """With the viewer's link all is seen, and whatever commands is off and says why."""
    with (
        trainer(weaver),
        page_of(browser, weaver, run=RUN, token=weaver.endpoint.viewer_token) as page,
    ):
        for verb in ("pause", "resume", "stop", "control-send"):
            expect(at(page, verb)).to_be_disabled()
        expect(at(page, "why-disabled")).to_contain_text("may look, not command")


def test_a_name_is_text(browser, weaver):
    """A metric whose name is HTML, right to left and an emoji is shown as text and runs nothing."""
    with trainer(weaver), page_of(browser, weaver, run=RUN) as page:
        charts = at(page, "metric-chart")
        expect(charts.filter(has_text="<img src=x").first).to_be_visible()
        assert page.evaluate("window.hacked") is None
        assert page.locator("img[src=x]").count() == 0


def test_on_a_phone_and_in_the_dark(browser, weaver):
    """At 400 px nothing runs off to the side; keys alone pause and resume; the dark is dark."""
    small = {"viewport": {"width": 400, "height": 800}, "color_scheme": "dark"}
    with trainer(weaver), page_of(browser, weaver, run=RUN, **small) as page:
        expect(state(page)).to_contain_text("running")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.keyboard.press("p")
        expect(at(page, "confirm-yes")).to_be_visible()
        at(page, "confirm-yes").focus()
        page.keyboard.press("Enter")
        expect(state(page)).to_contain_text("paused")
        background = page.evaluate(BACKGROUND)
        assert sum(json.loads(f"[{background[4:-1]}]")) < 200, background
        picture(page, "phone-dark")

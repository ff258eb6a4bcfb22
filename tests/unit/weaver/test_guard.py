"""The attacks of a hostile page, as bytes on a real socket; and what must pass all the same."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from harness.nats import asynchronous
from weavelet.weaver.api import PUBLIC, Api
from weavelet.weaver.guard import Guard
from weavelet.weaver.ingest import Ingest
from weavelet.weaver.scribe import Scribe
from weavelet.wire.bus import Bus

OPERATOR, VIEWER = "operator-token", "viewer-token"
OWN = "localhost:8080"
ORIGIN = f"Origin: http://{OWN}"
BEARER = f"Authorization: Bearer {OPERATOR}"
COOKIE = f"Cookie: weavelet-8080={OPERATOR}"
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@asynccontextmanager
async def server(static, **options):
    bus = Bus(lambda: None, name="test")
    ingest = Ingest(bus)
    guard = Guard(OPERATOR, VIEWER, public=PUBLIC, **options)
    api = Api(ingest, Scribe(bus, ingest), guard, server="test", static=static)
    runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site._server.sockets[0].getsockname()[1]
    finally:
        await runner.cleanup()


async def send(port, line, *headers, body="", host=OWN):
    """Send a request as bytes; returns the status and the head of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [line if "HTTP/" in line else f"{line} HTTP/1.1", *headers]
    if host is not None:
        lines.insert(1, f"Host: {host}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    writer.write("\r\n".join([*lines, "", body]).encode())
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode()
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), head


ATTACKS = {
    "a name rebound to this host": (421, ("GET /", BEARER), "evil.example:8080"),
    "a name that begins like this host's": (421, ("GET /", BEARER), "localhost.evil.example"),
    "a name behind a user": (421, ("GET /", BEARER), "localhost:8080@evil.example"),
    "a name with a path": (421, ("GET /", BEARER), "evil.example/localhost"),
    "a rebound name, upgrade": (421, ("GET /ws", *UPGRADE, COOKIE), "evil.example"),
    "no name": (421, ("GET / HTTP/1.0",), None),
    "an upgrade from another origin": (
        403,
        ("GET /ws", *UPGRADE, COOKIE, "Origin: http://evil.example"),
        OWN,
    ),
    "an upgrade from another origin, with the token": (
        403,
        ("GET /ws", *UPGRADE, BEARER, "Origin: http://evil.example"),
        OWN,
    ),
    "an upgrade from a sandboxed frame": (403, ("GET /ws", *UPGRADE, COOKIE, "Origin: null"), OWN),
    "an upgrade from another local port": (
        403,
        ("GET /ws", *UPGRADE, COOKIE, "Origin: http://localhost:9999"),
        OWN,
    ),
    "an upgrade from a server with a certificate": (
        403,
        ("GET /ws", *UPGRADE, COOKIE, f"Origin: https://{OWN}"),
        OWN,
    ),
    "a name with a fragment": (421, ("GET /", BEARER), "localhost#"),
    "a name with a tab in it": (421, ("GET /", BEARER), "loc\talhost"),
    "a name with a query": (421, ("GET /", BEARER), "localhost?"),
    "an origin with a tab in it": (
        403,
        ("GET /ws", *UPGRADE, COOKIE, "Origin: http://loc\talhost:8080"),
        OWN,
    ),
    "an origin behind a user": (
        403,
        ("GET /ws", *UPGRADE, COOKIE, f"Origin: http://{OWN}@evil.example"),
        OWN,
    ),
    "an upgrade with the cookie and no origin": (403, ("GET /ws", *UPGRADE, COOKIE), OWN),
    "an upgrade without a token": (401, ("GET /ws", *UPGRADE, ORIGIN), OWN),
    "an upgrade with a wrong token": (
        401,
        ("GET /ws", *UPGRADE, "Authorization: Bearer x"),
        OWN,
    ),
    "an upgrade with the token in the address": (401, (f"GET /ws?token={OPERATOR}", *UPGRADE), OWN),
    "a log-in from another origin": (
        403,
        ("POST /session", "Origin: https://evil.example"),
        OWN,
    ),
    "a log-in from another site": (403, ("POST /session", "Sec-Fetch-Site: cross-site"), OWN),
    "the page in a frame of another site": (
        403,
        (
            "GET /",
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Mode: navigate",
            "Sec-Fetch-Dest: iframe",
        ),
        OWN,
    ),
    "a script of another port": (403, ("GET /healthz", "Sec-Fetch-Site: same-site"), OWN),
    "a path that does not exist": (401, ("GET /nothing",), OWN),
    "a method that is not public": (401, ("DELETE /session", ORIGIN), OWN),
    "a path out of the page's folder": (401, ("GET /assets/..%2f..%2fapi.py",), OWN),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused(attack, tmp_path):
    """Whatever a browser can be made to send from elsewhere."""
    status, (line, *headers), host = ATTACKS[attack]

    @asynchronous
    async def run():
        async with server(tmp_path) as port:
            assert (await send(port, line, *headers, host=host))[0] == status

    run()


@asynchronous
async def test_two_names_are_refused(tmp_path):
    """Which of them another server would believe does not matter."""
    async with server(tmp_path) as port:
        assert (await send(port, "GET /", "Host: evil.example", BEARER))[0] in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:9000"])
def test_local_names_pass_at_any_port(host, tmp_path):
    """An ssh tunnel ends at a port of its own."""

    @asynchronous
    async def run():
        async with server(tmp_path) as port:
            assert (await send(port, "GET /", host=host))[0] == 200
            own = ("GET /ws", *UPGRADE, BEARER, f"Origin: http://{host}")
            assert (await send(port, *own, host=host))[0] == 101

    run()


@asynchronous
async def test_tokens_open_the_socket(tmp_path):
    """Operator's and viewer's, without an Origin, as programs send them."""
    async with server(tmp_path) as port:
        for token in (OPERATOR, VIEWER):
            bearer = f"Authorization: Bearer {token}"
            assert (await send(port, "GET /ws", *UPGRADE, bearer))[0] == 101


@asynchronous
async def test_the_page_exchanges_its_token_for_a_cookie(tmp_path):
    """Scripts cannot read it, other sites do not send it, and it opens the socket."""
    async with server(tmp_path) as port:
        status, head = await send(port, "POST /session", ORIGIN, body=f'{{"token": "{OPERATOR}"}}')
        assert status == 204
        cookie = next(line for line in head.split("\r\n") if line.startswith("Set-Cookie"))
        assert f"weavelet-8080={OPERATOR}" in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert (await send(port, "GET /ws", *UPGRADE, COOKIE, ORIGIN))[0] == 101
        for body, wanted in (('{"token": "x"}', 401), ("{", 400), ('{"token": 1}', 400)):
            assert (await send(port, "POST /session", ORIGIN, body=body))[0] == wanted


@asynchronous
async def test_a_followed_link_reaches_the_page(tmp_path):
    """From a terminal in another page, for one; the page itself holds nothing secret."""
    followed = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")
    async with server(tmp_path) as port:
        assert (await send(port, "GET /", *followed, "Sec-Fetch-Dest: document"))[0] == 200


@asynchronous
async def test_added_hosts_pass(tmp_path):
    """For a proxy, which may send its own name or this host's."""
    async with server(tmp_path, allow_hosts=("gpu.example", "other.example:444")) as port:
        for host, origin, wanted in (
            ("gpu.example", "https://gpu.example", 101),
            ("localhost:8080", "https://gpu.example", 101),
            ("other.example:444", "https://other.example:444", 101),
            ("other.example", "https://other.example", 421),
            ("gpu.example:8443", "https://gpu.example:8443", 101),
            ("localhost:8443", "https://localhost:8443", 403),
            ("localhost:8080", "https://more.gpu.example", 403),
            ("gpu.example:8080", "http://gpu.example:8080", 101),
            ("gpu.example:8080", "http://gpu.example:9999", 403),
        ):
            upgrade = ("GET /ws", *UPGRADE, BEARER, f"Origin: {origin}")
            assert (await send(port, *upgrade, host=host))[0] == wanted, (host, origin)


def test_with_a_certificate_no_page_without_one_is_its_own():
    """Whoever sits on the way to a page by http could have written it."""
    guard = Guard(OPERATOR, VIEWER, allow_hosts=("gpu.example",))
    for name in ("localhost", "gpu.example"):
        assert guard._is_own(f"https://{name}", name, secure=True)
        assert not guard._is_own(f"http://{name}", name, secure=True)


@asynchronous
async def test_a_host_that_is_none_admits_nobody(tmp_path):
    """An address given as a host allows no request whose own host cannot be read."""
    async with server(tmp_path, allow_hosts=("https://gpu.example",)) as port:
        assert (await send(port, "GET /", host="evil.example/x"))[0] == 421


@asynchronous
@pytest.mark.parametrize(
    ("line", "header", "wanted"),
    [
        ("GET /ws", b"Authorization: Bearer \xff\xfe", 401),
        ("GET /ws", b"Cookie: weavelet-8080=\xff", 401),
        ("GET /", b"Host: \xff", 421),
    ],
)
async def test_bytes_that_are_no_text_are_refused(tmp_path, line, header, wanted):
    """In a token and in a host, without an error of the server's own."""
    async with server(tmp_path) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        host = b"" if wanted == 421 else f"Host: {OWN}\r\n".encode()
        writer.write(f"{line} HTTP/1.1\r\n".encode() + host + header + b"\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        writer.close()
        await writer.wait_closed()
    assert int(head.split()[1]) == wanted


@asynchronous
async def test_every_answer_is_fenced_in(tmp_path):
    """Refusals, upgrades and pages alike."""
    async with server(tmp_path) as port:
        for request in (("GET /",), ("GET /ws",), ("GET /ws", *UPGRADE, BEARER), ("GET /x",)):
            _, head = await send(port, *request)
            assert "Content-Security-Policy: default-src 'self'" in head
            assert "X-Content-Type-Options: nosniff" in head


@asynchronous
async def test_metrics_need_a_token(tmp_path):
    """Prometheus sends one as a Bearer; the viewer's will do."""
    async with server(tmp_path) as port:
        assert (await send(port, "GET /metrics"))[0] == 401
        assert (await send(port, "GET /metrics", "Authorization: Bearer x"))[0] == 401
        status, head = await send(port, "GET /metrics", f"Authorization: Bearer {VIEWER}")
        assert status == 200
        assert "text/plain; version=0.0.4" in head


@asynchronous
async def test_health_needs_no_token_and_tells_no_secret(tmp_path):
    """503 without a NATS server."""
    async with server(tmp_path) as port:
        assert (await send(port, "GET /healthz"))[0] == 503


@pytest.fixture
def page(tmp_path):
    """A folder with a page, beside a file that is nobody's business."""
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(
        '<!doctype html><meta name="csp-nonce" content="__CSP_NONCE__">'
    )
    (folder / "assets" / "page.js").write_text("1")
    (folder / "secret.txt").write_text("secret")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "assets" / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


@asynchronous
async def test_the_page_is_served_where_there_is_one(page):
    """Its assets need no token either: they are read before the log-in."""
    async with server(page) as port:
        status, head = await send(port, "GET /")
        assert status == 200
        assert "Cache-Control: no-cache" in head
        status, head = await send(port, "GET /assets/page.js")
        assert status == 200
        assert "max-age=31536000" in head


@asynchronous
async def test_each_page_has_a_nonce_of_its_own(page):
    """The policy of an answer and its body name the same one, and nobody can know the next."""
    seen = set()
    async with server(page) as port, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(f"http://localhost:{port}/") as answer:
                body = await answer.text()
                policy = answer.headers["Content-Security-Policy"]
            nonce = re.search(r'content="([^"]{20,})"', body).group(1)
            assert f"style-src 'self' 'nonce-{nonce}';" in policy
            assert "unsafe" not in policy
            seen.add(nonce)
    assert len(seen) == 2


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../secret.txt",
        "/assets/..%2fsecret.txt",
        "/assets/%2e%2e/secret.txt",
        "/assets/..%5csecret.txt",
        "/assets/%2fetc/passwd",
        "/assets//etc/passwd",
        "/assets/link.txt",
        "/assets/",
        "/assets/page.js%00.txt",
    ],
)
def test_nothing_but_assets_is_served(page, path):
    """No spelling of a path, and no link, leads out of the folder."""

    @asynchronous
    async def run():
        async with server(page) as port:
            assert (await send(port, f"GET {path}", BEARER))[0] in (400, 403, 404)

    run()

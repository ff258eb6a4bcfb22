"""Who keeps the HTTP server waiting, as bytes on real sockets; and who must not be cut off."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from harness.nats import asynchronous, within
from weavelet.weaver import connections as module
from weavelet.weaver.connections import Connections, most
from weavelet.weaver.guard import Guard

HOST = "Host: localhost\r\n"
TOKEN = "Authorization: Bearer operator\r\n"
WHOLE = f"GET / HTTP/1.1\r\n{HOST}\r\n"


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.3)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(module, "MOST", 5)


class Handlers:
    """`/` answers at once, `/long` once it may, a POST with its body."""

    def __init__(self):
        self.may = asyncio.Event()

    async def now(self, request):
        return web.Response(text="now")

    async def long(self, request):
        await self.may.wait()
        return web.Response(text="long")

    async def body(self, request):
        return web.Response(text=await request.text())


@asynccontextmanager
async def serving():
    """The port of a server, and its handlers."""
    handlers = Handlers()
    app = web.Application()
    app.router.add_get("/", handlers.now)
    app.router.add_get("/long", handlers.long)
    app.router.add_post("/", handlers.body)
    connections = Connections(Guard("operator", "viewer"))
    connections.install(app)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=30.0, shutdown_timeout=0.1)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        work = asyncio.ensure_future(connections.run(runner.server, [listening]))
        try:
            yield listening.getsockname()[1], handlers
        finally:
            work.cancel()
            await asyncio.wait([work])
            await runner.cleanup()


@asynccontextmanager
async def opened(port, said=""):
    """A connection on which something was said; reads what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said.encode())
    try:
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def end(reader):
    """What was said until the other side ended it."""
    try:
        return (await within(reader.read())).decode()
    except ConnectionError:
        return ""


async def answer(reader):
    """The last line of the head of an answer, and its body."""
    head = await within(reader.readuntil(b"\r\n\r\n"))
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    return (await within(reader.readexactly(length))).decode()


@pytest.mark.parametrize(
    "said",
    [
        "",
        "GET / HT",
        f"GET / HTTP/1.1\r\n{HOST}",
        f"POST / HTTP/1.1\r\n{HOST}Content-Length: 20\r\n\r\nhalf of it",
        f"{WHOLE}POST / HTTP/1.1\r\n{HOST}{TOKEN}Content-Length: 20\r\n\r\nhalf of it",
    ],
)
@asynchronous
async def test_who_keeps_it_waiting_is_cut_off(said):
    """With nothing said, half a request, or half of its body."""
    async with serving() as (port, _), opened(port, said) as reader:
        await end(reader)


@asynchronous
async def test_who_waits_for_an_answer_is_not():
    """However long it takes, and neither is who comes back with another request."""
    async with (
        serving() as (port, handlers),
        opened(port, f"GET /long HTTP/1.1\r\n{HOST}\r\n") as patient,
        opened(port, WHOLE) as idle,
    ):
        assert await answer(idle) == "now"
        async with opened(port) as silent:
            await end(silent)
        handlers.may.set()
        assert await answer(patient) == "long"
        assert not idle.at_eof()


@asynchronous
async def test_the_oldest_stranger_makes_room(caplog):
    """Who has shown a good token stays, and a newcomer is served; it is said once."""
    async with (
        serving() as (port, _),
        opened(port, f"GET /long HTTP/1.1\r\n{HOST}{TOKEN}\r\n") as ours,
    ):
        async with opened(port, f"GET /long HTTP/1.1\r\n{HOST}\r\n") as oldest:
            for _ in range(20):
                async with opened(port, WHOLE) as newcomer:
                    assert await answer(newcomer) == "now"
            strangers = [
                await asyncio.open_connection("127.0.0.1", port) for _ in range(module.MOST)
            ]
            assert await end(oldest) == ""
            async with opened(port, WHOLE) as newcomer:
                assert await answer(newcomer) == "now"
            for _, writer in strangers:
                writer.close()
        assert not ours.at_eof()
    assert caplog.text.count("the oldest without a token must go") == 1


@asynchronous
async def test_where_all_have_a_token_a_newcomer_has_to_wait():
    """Nobody who may be there is thrown out for somebody who may not."""
    async with serving() as (port, _):
        ours = [await asyncio.open_connection("127.0.0.1", port) for _ in range(module.MOST)]
        for reader, writer in ours:
            writer.write(f"GET / HTTP/1.1\r\n{HOST}{TOKEN}\r\n".encode())
            assert await answer(reader) == "now"
        async with opened(port) as newcomer:
            assert await end(newcomer) == ""
        for reader, writer in ours:
            assert not reader.at_eof()
            writer.close()


@asynchronous
async def test_what_the_system_refuses_is_tried_again(monkeypatch, caplog):
    """Without files no connection can be taken; there is one line, and later all goes on."""
    async with serving() as (port, _):
        loop = asyncio.get_running_loop()
        real, refused = loop.sock_accept, []

        async def refuse(listening):
            taken = await real(listening)
            if len(refused) < 5:
                refused.append(taken[0].close())
                raise OSError(24, "Too many open files")
            return taken

        monkeypatch.setattr(loop, "sock_accept", refuse)
        for _ in range(5):
            async with opened(port, WHOLE) as reader:
                assert await end(reader) == ""
        async with opened(port, WHOLE) as reader:
            assert await answer(reader) == "now"
    assert caplog.text.count("cannot take connections (Too many open files)") == 1


@pytest.mark.parametrize(("files", "wanted"), [(300, 150), (1, 1), (100_000, 512), (-1, 512)])
def test_half_of_the_files_are_for_connections(monkeypatch, files, wanted):
    """The other half is for the store and all else, whatever the limit."""
    monkeypatch.setattr(module, "MOST", 512)
    monkeypatch.setattr(module.resource, "getrlimit", lambda _: (files, files))
    assert most() == wanted

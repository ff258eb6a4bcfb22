"""The weaver's HTTP server: the WebSocket of `protocol`, health, log-in, and the page."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from aiohttp import WSMsgType, web
from msgspec.structs import asdict

from weavelet.exceptions import CommandError
from weavelet.weaver import gauges, protocol
from weavelet.weaver.clients import Allowance, Client
from weavelet.weaver.guard import Guard, Role, cookie_name
from weavelet.weaver.history import answers
from weavelet.weaver.ingest import Ingest
from weavelet.weaver.log import AUTHOR
from weavelet.weaver.news import News
from weavelet.weaver.page import STATIC, Page
from weavelet.weaver.scribe import Scribe
from weavelet.weaver.umpire import Umpire

log = logging.getLogger("weavelet.weaver")

PUBLIC = frozenset(
    (method, path)
    for method, path in (
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/assets"),
        ("HEAD", "/assets"),
        ("GET", "/healthz"),
        ("HEAD", "/healthz"),
        ("POST", "/session"),
    )
)
STATUS_SECONDS = 0.1
_PING_SECONDS = 20.0
_MAX_CLIENTS = 200
_MAX_VIEWERS = 100
_REQUESTS_AT_ONCE = 300
_REQUESTS_PER_SECOND = 100.0
_WORK_PRICE = 400.0
"""Requests that a second of work counts as: all viewers together get a quarter of the time."""
_MAX_AUTHOR = 128
_MAX_BRIEF = 500
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_ENTRY_ID = re.compile(r"[0-9a-f]{16,32}")
_UNSAID: tuple[object, ...] = ([], {}, "")

_decode = msgspec.json.Decoder(protocol.ClientMessage).decode


class _Credentials(msgspec.Struct):
    token: str


class _Numbered(msgspec.Struct):
    id: str = ""


class Api:
    """Serves clients out of what `ingest` has read; commands go through `scribe`."""

    def __init__(
        self,
        ingest: Ingest,
        scribe: Scribe,
        guard: Guard,
        *,
        server: str,
        umpire: Umpire | None = None,
        static: Path = STATIC,
    ) -> None:
        self._ingest = ingest
        self._scribe = scribe
        self._guard = guard
        self._static = static
        self._news = News(ingest, umpire, server=server)
        self._sockets: set[web.WebSocketResponse] = set()
        # However many of them look on, whoever commands is answered at once.
        self._viewers = Allowance(_REQUESTS_AT_ONCE, _REQUESTS_PER_SECOND, _WORK_PRICE)

    def application(self) -> web.Application:
        """The application, with the guard before every route."""
        app = web.Application(client_max_size=4096)
        self._guard.install(app)
        Page(self._static).install(app)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/session", self._log_in)
        app.router.add_get("/ws", self._websocket)
        app.on_shutdown.append(self._close)
        return app

    async def run(self) -> None:
        """Tell clients what changes. Ends only by cancellation."""
        while True:
            await asyncio.sleep(STATUS_SECONDS)
            self._news.refresh()

    async def _close(self, app: web.Application) -> None:
        for socket in list(self._sockets):
            await socket.close(code=1001, message=b"the weaver is going away")

    # Plain HTTP.

    async def _health(self, request: web.Request) -> web.Response:
        bus = self._ingest.bus
        body: dict[str, object] = {
            "status": "ok",
            "version": protocol.VERSION,
            "nats": bus.connected,
            "ready": self._ingest.ready.is_set(),
            "malformed": self._ingest.malformed,
        }
        if bus.connected and self._ingest.ready.is_set():
            return web.json_response(body)
        body["status"] = "reading the logs" if bus.connected else "no connection to NATS"
        return web.json_response(body, status=503)

    async def _metrics(self, request: web.Request) -> web.Response:
        ingest = self._ingest
        weaver = gauges.Weaver(
            connected=ingest.bus.connected,
            ready=ingest.ready.is_set(),
            clients=len(self._news.clients),
            malformed=ingest.malformed,
            unsent=self._news.unsent,
            left_out=ingest.census.left_out,
            rules=self._news.rules,
        )
        families = gauges.gather(ingest.fleet, weaver, time.monotonic())
        # Writing thousands of lines must not hold up the clients.
        text = await asyncio.to_thread(gauges.exposition, families)
        return web.Response(body=text, headers={"Content-Type": gauges.CONTENT_TYPE})

    async def _log_in(self, request: web.Request) -> web.Response:
        try:
            given = msgspec.json.decode(await request.read(), type=_Credentials)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return web.Response(status=400, text='expected {"token": "..."}\n')
        if self._guard.role_of(given.token) is None:
            self._ingest.complain(f"the log-in from {request.remote}", "wrong token")
            return web.Response(status=401, text="wrong token\n")
        answer = web.Response(status=204)
        answer.set_cookie(
            cookie_name(request),
            given.token,
            httponly=True,
            samesite="Strict",
            secure=request.secure,
            path="/",
        )
        return answer

    # The WebSocket.

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        role = self._guard.role(request)
        if role is None or not self._has_room(role):
            return web.Response(status=503, text="too many clients are connected already\n")
        socket = web.WebSocketResponse(
            heartbeat=_PING_SECONDS, max_msg_size=protocol.MAX_MESSAGE_BYTES + 1, compress=False
        )
        await socket.prepare(request)
        author = _author(request, role)
        client = Client(
            socket,
            request,
            role=role,
            author=author,
            allowance=self._allowance(role),
            news=self._news.of,
        )
        self._news.clients.add(client)
        self._sockets.add(socket)
        writing = asyncio.ensure_future(client.write())
        try:
            async for message in socket:
                # Not read, its further messages wait in its own buffers and hold up nobody else.
                await client.allowance.turn()
                if message.type is WSMsgType.TEXT:
                    await self._receive(client, message.data)
                elif message.type is WSMsgType.BINARY:
                    self._refuse(client, "expected a text frame, got a binary one")
        finally:
            self._news.leave(client)
            self._sockets.discard(socket)
            writing.cancel()
            # The loop itself does not hold on to a task; one that is forgotten complains.
            await asyncio.wait([writing])
        return socket

    def _allowance(self, role: Role) -> Allowance:
        if role == "viewer":
            return self._viewers
        return Allowance(_REQUESTS_AT_ONCE, _REQUESTS_PER_SECOND)

    def _has_room(self, role: Role) -> bool:
        clients = self._news.clients
        viewers = sum(client.role == "viewer" for client in clients)
        return len(clients) < _MAX_CLIENTS and (role == "operator" or viewers < _MAX_VIEWERS)

    async def _receive(self, client: Client, text: str) -> None:
        number = ""
        try:
            number = _number(text)
            await self._answer(client, _decode(text))
        except CommandError as error:
            client.send(_error(error.code, error.text, number, error.known))
        except msgspec.DecodeError as error:
            self._refuse(client, str(error), number)
        except RecursionError:
            self._refuse(client, "it is nested too deeply", number)
        except Exception:
            # The boundary: a fault in answering one message must not end the connection.
            log.exception("a message of %s could not be answered", client.author)
            client.send(_error("unavailable", "the weaver failed; see its log", number))

    def _refuse(self, client: Client, why: str, number: str = "") -> None:
        self._ingest.complain(f"the connection of {client.author}", why)
        client.send(_error("malformed", why, number))

    async def _answer(self, client: Client, request: protocol.ClientMessage) -> None:
        if isinstance(request, protocol.Subscribe):
            with client.allowance.working():
                self._news.subscribe(client, request)
        elif isinstance(request, protocol.ReadLog):
            with client.allowance.working():
                client.send(self._log(request))
        elif isinstance(request, protocol.ReadHistory):
            await self._recall(client, request)
        else:
            await self._obey(client, request)

    def _log(self, request: protocol.ReadLog) -> protocol.Log:
        job = self._ingest.fleet.find(request.run, request.job, time.monotonic())
        lives = self._ingest.log(job.run, job.name).lives.values()
        entries = [life.update() for life in lives]
        return protocol.Log(id=request.id, run=job.run, job=job.name, entries=entries)

    async def _recall(self, client: Client, request: protocol.ReadHistory) -> None:
        job = self._ingest.fleet.find(request.run, request.job, time.monotonic())
        replicas = request.replicas or list(job.replicas)
        keys = [(job.run, job.name, replica) for replica in replicas]
        missing = await self._ingest.recall(keys)
        pieces = answers(request, job, self._ingest.history, missing)
        is_more = True
        while is_more:
            with client.allowance.working():
                is_more = _send_piece(client, pieces)
            # It may be much to read; others have their turn in between.
            await client.allowance.turn(0)

    async def _obey(self, client: Client, request: protocol.Command | protocol.Remove) -> None:
        try:
            if client.role != "operator":
                raise CommandError("forbidden", "a viewer's token may look, not command")
            if isinstance(request, protocol.Remove):
                await self._remove(client, request)
            else:
                await self._command(client, request)
        except CommandError as error:
            log.info("%s: refused %s: %s", client.who, _brief(request), _cut(error.text))
            raise

    async def _remove(self, client: Client, request: protocol.Remove) -> None:
        removed = await self._scribe.remove(request.run, request.job)
        log.info("%s: Remove of run %s, jobs %s", client.who, request.run, removed)
        client.send(protocol.Removed(id=request.id, run=request.run, jobs=removed))

    async def _command(self, client: Client, request: protocol.Command) -> None:
        entry_id = self._entry_id(request)
        take_back = self._news.expect(entry_id, client, request.id)
        try:
            await self._scribe.submit(request, entry_id=entry_id, author=client.author)
        except CommandError:
            take_back()
            raise
        log.info("%s: %s (entry %s)", client.who, _brief(request), entry_id)

    def _entry_id(self, request: protocol.Command) -> str:
        if request.entry is None:
            return secrets.token_hex(8)
        if not _ENTRY_ID.fullmatch(request.entry):
            text = f"entry: expected 16 to 32 hexadecimal digits, got {request.entry[:40]!r}"
            raise CommandError("invalid_value", text)
        if any(request.entry in found.lives for found in self._ingest.logs.values()):
            text = f"entry: {request.entry!r} is in a log already; choose another for each command"
            raise CommandError("invalid_value", text)
        return request.entry


def _send_piece(client: Client, pieces: Iterator[protocol.History | None]) -> bool:
    """Send what comes until others should have their turn. Returns whether there may be more."""
    for piece in pieces:
        if piece is None:
            return True
        client.send(piece)
    return False


def _number(text: str) -> str:
    try:
        return msgspec.json.decode(text, type=_Numbered).id
    except msgspec.ValidationError:
        return ""


def _error(code: str, text: str, number: str = "", known: tuple[str, ...] = ()) -> protocol.Error:
    return protocol.Error(id=number, code=code, text=text, known=list(known))


def _author(request: web.Request, role: Role) -> str:
    remote = request.remote or "unknown"
    given = request.headers.get("X-Weavelet-Author", "")
    if not (given and given.isprintable() and len(given) <= _MAX_AUTHOR) or _is_reserved(given):
        return f"{role}@{remote}"
    # What a client says of itself is worth more with where it says it from.
    return given if remote in _LOOPBACK else f"{given} from {remote}"


def _is_reserved(author: str) -> bool:
    return author == AUTHOR or author.startswith(("rule:", "external."))


def _brief(request: protocol.Command | protocol.Remove) -> str:
    said = {
        name: value
        for name, value in asdict(request).items()
        if name not in {"id", "entry"} and not (value is None or value is False or value in _UNSAID)
    }
    return _cut(f"{type(request).__name__} {said}")


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_BRIEF else f"{text[:_MAX_BRIEF]}..."

"""The weaver's HTTP server: the WebSocket of `protocol`, health, log-in, and the page."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from pathlib import Path

import msgspec
from aiohttp import WSMsgType, web

from weavelet.exceptions import CommandError
from weavelet.messages import ReportBatch
from weavelet.weaver import gauges, protocol
from weavelet.weaver.clients import Client
from weavelet.weaver.guard import Guard, Role, cookie_name
from weavelet.weaver.history import answers
from weavelet.weaver.ingest import Ingest
from weavelet.weaver.log import Life
from weavelet.weaver.page import STATIC, Page
from weavelet.weaver.scribe import Scribe
from weavelet.weaver.views import metrics_message

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
_MAX_CLIENTS = 100
_MAX_AUTHOR = 128

_decode = msgspec.json.Decoder(protocol.ClientMessage).decode
_encode = msgspec.json.Encoder().encode


class _Credentials(msgspec.Struct):
    token: str


class _Numbered(msgspec.Struct):
    id: str = ""


class Api:
    """Serves clients out of what `ingest` has read; commands go through `scribe`."""

    def __init__(
        self, ingest: Ingest, scribe: Scribe, guard: Guard, *, server: str, static: Path = STATIC
    ) -> None:
        self._ingest = ingest
        self._scribe = scribe
        self._guard = guard
        self._server = server
        self._static = static
        self._clients: set[Client] = set()
        self._sockets: set[web.WebSocketResponse] = set()
        self._asked: dict[str, tuple[Client, str]] = {}
        self._told: dict[str, tuple[str, bool]] = {}
        self._unsaid: dict[str, Life] = {}
        self._news: dict[tuple[int, tuple[str, ...]], tuple[int, bytes | None]] = {}
        ingest.on_entry = self._on_entry
        ingest.on_report = self._on_report

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
            self._ingest.fleet.tick(time.monotonic())
            self._news.clear()
            for life in list(self._unsaid.values()):
                self._say(life)
            for client in self._clients:
                if client.subscription is not None:
                    client.refresh()

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
            clients=len(self._clients),
            malformed=ingest.malformed,
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
        if role is None or len(self._clients) >= _MAX_CLIENTS:
            return web.Response(status=503, text=f"{_MAX_CLIENTS} clients are connected already\n")
        socket = web.WebSocketResponse(
            heartbeat=_PING_SECONDS, max_msg_size=protocol.MAX_MESSAGE_BYTES + 1, compress=False
        )
        await socket.prepare(request)
        author = _author(request, role)
        client = Client(socket, request, role=role, author=author, news=self._news_for)
        self._clients.add(client)
        self._sockets.add(socket)
        writing = asyncio.ensure_future(client.write())
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._receive(client, message.data)
                else:
                    self._refuse(client, "expected a text frame, got a binary one")
        finally:
            self._clients.discard(client)
            self._sockets.discard(socket)
            self._asked = {key: one for key, one in self._asked.items() if one[0] is not client}
            writing.cancel()
        return socket

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
            self._subscribe(client, request)
        elif isinstance(request, protocol.ReadLog):
            client.send(self._log(request))
        elif isinstance(request, protocol.ReadHistory):
            await self._recall(client, request)
        elif client.role != "operator":
            raise CommandError("forbidden", "a viewer's token may look, not command")
        elif isinstance(request, protocol.Remove):
            removed = await self._scribe.remove(request.run, request.job)
            client.send(protocol.Removed(id=request.id, run=request.run, jobs=removed))
        else:
            await self._command(client, request)

    def _subscribe(self, client: Client, request: protocol.Subscribe) -> None:
        fleet, now = self._ingest.fleet, time.monotonic()
        fleet.tick(now)
        client.subscription, client.version = request, fleet.version
        client.send(self._snapshot(client, fleet.snapshot(now, request.runs), request.id))

    def _snapshot(
        self, client: Client, jobs: list[protocol.JobView], number: str = ""
    ) -> protocol.Snapshot:
        return protocol.Snapshot(id=number, server=self._server, role=client.role, jobs=jobs)

    def _log(self, request: protocol.ReadLog) -> protocol.Log:
        job = self._ingest.fleet.find(request.run, request.job, time.monotonic())
        lives = self._ingest.log(job.run, job.name).lives.values()
        entries = [life.update() for life in lives]
        return protocol.Log(id=request.id, run=job.run, job=job.name, entries=entries)

    async def _recall(self, client: Client, request: protocol.ReadHistory) -> None:
        job = self._ingest.fleet.find(request.run, request.job, time.monotonic())
        for answer in answers(request, job, self._ingest.history):
            client.send(answer)
            # It may be much to read; others have their turn in between.
            await asyncio.sleep(0)

    async def _command(self, client: Client, request: protocol.Command) -> None:
        entry_id = secrets.token_hex(8)
        self._asked[entry_id] = (client, request.id)
        try:
            await self._scribe.submit(request, entry_id=entry_id, author=client.author)
        except CommandError:
            self._asked.pop(entry_id, None)
            raise
        log.info(
            "%s: %s of run %s (%s)", client.author, type(request).__name__, request.run, entry_id
        )

    # What clients are told unasked.

    def _on_entry(self, life: Life) -> None:
        # A thousand replicas answer one by one; only what changes the entry's state is said at
        # once, the rest with the next status.
        if self._told.get(life.entry.id) == (life.state, life.over):
            self._unsaid[life.entry.id] = life
        else:
            self._say(life)

    def _say(self, life: Life) -> None:
        key = life.entry.id
        self._unsaid.pop(key, None)
        self._told[key] = (life.state, life.over)
        asker, number = self._asked.get(key, (None, ""))
        if asker is not None:
            asker.send(life.update(number))
        if life.over:
            self._asked.pop(key, None)
        others = [one for one in self._clients if one is not asker and one.wants(life.run)]
        if others:
            data = _encode(life.update())
            for client in others:
                client.send(data)

    def _on_report(self, run: str, job: str, batch: ReportBatch) -> None:
        clients = [client for client in self._clients if client.wants_metrics(run)]
        if clients:
            data = _encode(metrics_message(run, job, batch))
            for client in clients:
                client.send_samples(data)

    def _news_for(self, client: Client) -> bytes | None:
        if client.subscription is None:
            return None
        fleet, runs = self._ingest.fleet, client.subscription.runs
        key = (client.version, tuple(runs))
        # Most clients have seen the same: what is encoded once serves them all.
        if key not in self._news:
            changes = fleet.changes(client.version, time.monotonic(), runs)
            if isinstance(changes, protocol.Snapshot):
                client.version = fleet.version
                return _encode(self._snapshot(client, changes.jobs))
            self._news[key] = (fleet.version, None if changes is None else _encode(changes))
        client.version, news = self._news[key]
        return news


def _number(text: str) -> str:
    try:
        return msgspec.json.decode(text, type=_Numbered).id
    except msgspec.ValidationError:
        return ""


def _error(code: str, text: str, number: str = "", known: tuple[str, ...] = ()) -> protocol.Error:
    return protocol.Error(id=number, code=code, text=text, known=list(known))


def _author(request: web.Request, role: Role) -> str:
    given = request.headers.get("X-Weavelet-Author", "")
    if given and given.isprintable() and len(given) <= _MAX_AUTHOR:
        return given
    return f"{role}@{request.remote or 'unknown'}"

"""One `weavelet up`: the home, the NATS server, and the weaver that serves it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
from aiohttp import web

from weavelet import settings
from weavelet.exceptions import BusError, CommandError
from weavelet.settings import Endpoint
from weavelet.weaver.api import PUBLIC, Api
from weavelet.weaver.connections import IDLE_SECONDS, Connections
from weavelet.weaver.guard import Guard, server_log
from weavelet.weaver.home import Home, Secrets
from weavelet.weaver.ingest import Ingest, together
from weavelet.weaver.nats_server import NatsServer
from weavelet.weaver.rulebook import load_all
from weavelet.weaver.rules import Rule
from weavelet.weaver.scribe import Scribe
from weavelet.weaver.umpire import Umpire
from weavelet.wire.bus import Bus, Server

log = logging.getLogger("weavelet.weaver")

DEFAULT_PORT = 8080
_CONNECT_SECONDS = 15.0
# A cluster needs its time to place four streams.
_STREAMS_SECONDS = 30.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What `weavelet up` can be told.

    `port` None is 8080, 0 any free one. `store` is the folder for the NATS server's files. With
    `nats_url` no server is started; `creds` is the credentials file for it, `replicas` how many
    servers of its cluster keep each stream. `host` other than this one's own address needs
    `certificate` and `key` (files, PEM), or `insecure`. `rules` are files as `rules` describes.
    """

    home: Path | None = None
    port: int | None = None
    host: str = "127.0.0.1"
    store: Path | None = None
    nats_url: str | None = None
    creds: str | None = None
    replicas: int = 1
    allow_hosts: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = False
    rules: tuple[Path, ...] = ()


class Service:
    """Everything that `weavelet up` runs, in the current event loop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stop: list[Callable[[], Awaitable[None]]] = []
        self._work: list[asyncio.Future[None]] = []
        self._rules: list[Rule] = []
        self.endpoint: Endpoint | None = None
        self.nats: NatsServer | None = None

    async def start(self) -> Endpoint:
        """Start; return when clients and sidecars can come, and endpoint.json says so.

        Raises:
            AlreadyUpError: the home has an `up` already; it says where.
            CommandError: it cannot be started; the text says why and what to do.
        """
        try:
            return await self._start()
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> None:
        """Return never; raise what ends the service.

        Raises:
            CommandError: the NATS server does not stay up.
        """
        done, _ = await asyncio.wait(self._work, return_when=asyncio.FIRST_COMPLETED)
        for work in done:
            work.result()

    async def stop(self) -> None:
        """Stop everything that was started, the last first."""
        while self._stop:
            try:
                await self._stop.pop()()
            except Exception:
                # One part that cannot stop must not keep the others from it.
                log.exception("a part of the weaver could not be stopped")

    async def _start(self) -> Endpoint:
        options = self._options
        _check_exposure(options)
        self._rules = load_all(options.rules)
        folder = options.home or settings.home()
        # In a thread: it may wait for another `up` that is just starting.
        home = await asyncio.to_thread(Home, folder, options.store)
        self._stop.append(_later(home.close))
        kept = home.secrets()
        sockets = _listen(options, kept.http_port)
        for one in sockets:
            self._stop.append(_later(one.close))
        nats_url, nats_port = await self._start_nats(home, kept)
        port: int = sockets[0].getsockname()[1]
        bus = await self._connect(lambda: self.nats.url if self.nats else nats_url)
        await self._serve(bus, kept, sockets, f"{socket.gethostname()}:{port}")
        home.keep(msgspec.structs.replace(kept, nats_port=nats_port, http_port=port))
        self.endpoint = Endpoint(
            nats_url=nats_url,
            http_url=_http_url(options, port),
            token=kept.token,
            viewer_token=kept.viewer_token,
            pid=os.getpid(),
            started=psutil.Process().create_time(),
            host=socket.gethostname(),
            boot=settings.boot_id(),
            birth=settings.process_birth(os.getpid()),
        )
        home.publish(self.endpoint)
        self._stop.append(_later(home.withdraw))
        if self.nats is not None:
            self.nats.restarted = lambda: self._publish_again(home)
        return self.endpoint

    def _publish_again(self, home: Home) -> None:
        """Tell sessions where the server is now: its old port may have been taken meanwhile."""
        if self.nats is not None and self.endpoint is not None:
            self.endpoint = msgspec.structs.replace(self.endpoint, nats_url=self.nats.url)
            home.publish(self.endpoint)

    async def _start_nats(self, home: Home, kept: Secrets) -> tuple[str, int]:
        if self._options.nats_url is not None:
            return self._options.nats_url, kept.nats_port
        server = NatsServer(home.nats, port=kept.nats_port, password=kept.nats_password)
        await server.start()
        self.nats = server
        self._stop.append(server.stop)
        self._run(server.keep())
        return server.url, server.port

    async def _connect(self, url: Callable[[], str]) -> Bus:
        creds = self._options.creds
        server = Server(url(), creds)
        bus = Bus(lambda: Server(url(), creds), name="weaver")
        self._run(bus.run())
        try:
            await asyncio.wait_for(bus.wait_connected(), _CONNECT_SECONDS)
            streams = bus.create_streams(replicas=self._options.replicas)
            await asyncio.wait_for(streams, _STREAMS_SECONDS)
        except asyncio.TimeoutError:
            text = f"cannot use the NATS server at {server.where}: {bus.last_error}"
            raise CommandError("unavailable", text) from None
        except BusError as error:
            text = f"cannot set up the streams on the NATS server at {server.where}: {error}"
            raise CommandError("unavailable", text) from error
        return bus

    async def _serve(
        self, bus: Bus, kept: Secrets, sockets: list[socket.socket], name: str
    ) -> None:
        options = self._options
        ingest = Ingest(bus)
        nats = self.nats
        scribe = Scribe(bus, ingest, lambda: nats.trouble if nats else None)
        guard = Guard(kept.token, kept.viewer_token, options.allow_hosts, PUBLIC)
        umpire = Umpire(self._rules, ingest, scribe)
        api = Api(ingest, scribe, guard, server=name, umpire=umpire)
        streams = _keep_streams(bus, options.replicas)
        self._run(together(streams, ingest.run(), scribe.run(), api.run(), umpire.run()))
        reading: asyncio.Future[object] = asyncio.ensure_future(ingest.ready.wait())
        failing: asyncio.Future[object] = asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait({reading, failing}, return_when=asyncio.FIRST_COMPLETED)
            if failing.done():
                failing.result()
        finally:
            reading.cancel()
            failing.cancel()
        connections = Connections(guard, _tls(options))
        application = api.application()
        connections.install(application)
        runner = web.AppRunner(
            application,
            handle_signals=False,
            access_log=None,
            logger=server_log(ingest.complain),
            shutdown_timeout=1.0,
            keepalive_timeout=IDLE_SECONDS,
        )
        await runner.setup()
        self._stop.append(runner.cleanup)
        if runner.server is not None:
            self._run(connections.run(runner.server, sockets))

    def _run(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._work.append(task)

        async def end() -> None:
            task.cancel()
            with suppress(asyncio.CancelledError, CommandError):
                await task

        self._stop.append(end)


async def serve(options: Options, *, started: Callable[[Endpoint], None]) -> None:
    """Run until SIGTERM or SIGINT. `started` is told where, once clients can come.

    For the main thread.

    Raises:
        AlreadyUpError: as `Service.start`.
        CommandError: it cannot be started, or not be kept up.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    service = Service(options)
    starting = asyncio.ensure_future(service.start())
    stopping = asyncio.ensure_future(asked.wait())
    try:
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            started(starting.result())
            failing = asyncio.ensure_future(service.wait())
            await asyncio.wait([failing, stopping], return_when=asyncio.FIRST_COMPLETED)
            if failing.done():
                failing.result()
            failing.cancel()
    finally:
        starting.cancel()
        stopping.cancel()
        with suppress(asyncio.CancelledError, Exception):  # was raised above, if it matters
            await starting
        await service.stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _keep_streams(bus: Bus, replicas: int) -> None:
    # A server that comes back may have lost its store.
    while True:
        generation = bus.generation
        try:
            await bus.wait_connected()
            await bus.create_streams(replicas=replicas)
        except BusError as error:
            log.warning("cannot look after the streams: %s; trying again", error)
            await asyncio.sleep(1.0)
        else:
            await bus.wait_change(generation)


def _check_exposure(options: Options) -> None:
    local = options.host in ("127.0.0.1", "localhost", "::1")
    if local or options.insecure or (options.certificate and options.key):
        return
    text = (
        f"listening on {options.host} lets others read the token on its way: give a certificate "
        "and its key, or say --insecure, or stay on 127.0.0.1 and use an ssh tunnel"
    )
    raise CommandError("forbidden", text)


def _listen(options: Options, last: int) -> list[socket.socket]:
    wanted = DEFAULT_PORT if options.port is None else options.port
    host = "127.0.0.1" if options.host == "localhost" else options.host
    if wanted == 0 and last:
        with suppress(OSError):
            return _bind(host, last)
    try:
        return _bind(host, wanted)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            text = f"cannot listen on {options.host}: {error.strerror}"
            raise CommandError("unavailable", text) from error
        why = "taken" if error.errno == errno.EADDRINUSE else "not for this user"
        text = f"port {wanted} is {why}, use --port 0 for any free one"
        raise CommandError("port_taken", text) from error


def _bind(host: str, port: int) -> list[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    first = socket.create_server((host, port), family=family, backlog=128)
    if host != "127.0.0.1":
        return [first]
    # Browsers may look for `localhost` on IPv6 first.
    with suppress(OSError):
        second = ("::1", first.getsockname()[1])
        return [first, socket.create_server(second, family=socket.AF_INET6, backlog=128)]
    return [first]


def _http_url(options: Options, port: int) -> str:
    scheme = "https" if options.certificate else "http"
    host = "127.0.0.1" if options.host in ("0.0.0.0", "::", "localhost") else options.host  # noqa: S104  what was bound, not what to bind
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _tls(options: Options) -> ssl.SSLContext | None:
    if options.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.certificate, options.key)
    except (OSError, ssl.SSLError) as error:
        text = f"cannot use the certificate {options.certificate}: {error}"
        raise CommandError("unavailable", text) from error
    return context


def _later(call: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    async def end() -> None:
        call()

    return end

"""The connections of the HTTP server: how many there may be, and how long one may say nothing.

Anybody on this machine can open them without a token, and each takes a file of this process. So the
server does not accept them by itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import resource
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

from weavelet.weaver.guard import Guard
from weavelet.weaver.ingest import together

log = logging.getLogger("weavelet.weaver")

MOST = 512
SECONDS = 10.0
"""Time that a connection has for its first request, and for the body of each."""
IDLE_SECONDS = 30.0
"""Time from an answer to the next request."""
_LOOK_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_QUIET_SECONDS = 60.0


def most() -> int:
    """How many there may be: half of the files that this process may have open, or fewer."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else max(1, min(MOST, files // 2))


@dataclass(eq=False, slots=True)
class _Connection:
    """`due` is when what it has to say must be there; `trusted` if it came with a good token."""

    socket: socket.socket
    due: float
    making: asyncio.Future[None] | None = None
    transport: asyncio.WriteTransport | None = None
    request: web.Request | None = None
    trusted: bool = False

    @property
    def gone(self) -> bool:
        return self.socket.fileno() < 0

    def is_late(self, now: float) -> bool:
        return now > self.due and (self.request is None or not self.request.content.is_eof())

    def drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        elif self.making is not None:
            self.making.cancel()


class Connections:
    """Accepts connections, and ends those that keep it waiting.

    Where there are too many, the oldest one without a good token makes room for the next.
    """

    def __init__(self, guard: Guard, tls: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        self._tls = tls
        self._most = most()
        self._known: dict[object, _Connection] = {}
        self._quiet_until = -math.inf

    def install(self, app: web.Application) -> None:
        """Look at every request to `app`, before anybody else does."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = self._known.get(request.protocol)
            if connection is None:
                return await handler(request)
            connection.request, connection.due = request, time.monotonic() + SECONDS
            connection.trusted = self._guard.role(request) is not None
            try:
                return await handler(request)
            finally:
                # From here on the server itself counts, up to `IDLE_SECONDS`.
                connection.request, connection.due = None, math.inf

        app.middlewares.insert(0, middleware)

    async def run(self, server: web.Server, sockets: Sequence[socket.socket]) -> None:
        """Let `server` serve what connects to the sockets. Ends only by cancellation."""
        try:
            await together(self._watch(), *(self._accept(server, one) for one in sockets))
        finally:
            for connection in self._known.values():
                if connection.transport is None:
                    connection.drop()

    async def _accept(self, server: web.Server, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except ConnectionError:
                continue  # it has left already
            except OSError as error:
                self._say(f"cannot take connections ({error.strerror}), trying again")
                await asyncio.sleep(0 if self._drop_oldest() else _RETRY_SECONDS)
            else:
                self._take(server, accepted)
                await asyncio.sleep(0)  # where many wait, others have their turn in between

    def _take(self, server: web.Server, accepted: socket.socket) -> None:
        if len(self._known) >= self._most:
            self._forget_gone()
        if len(self._known) >= self._most:
            self._say(f"more than {self._most} connections: the oldest without a token must go")
            if not self._drop_oldest():
                accepted.close()
                return
        protocol = server()
        connection = _Connection(accepted, time.monotonic() + SECONDS)
        self._known[protocol] = connection
        connection.making = asyncio.ensure_future(self._make(protocol, connection))

    async def _make(self, protocol: asyncio.Protocol, connection: _Connection) -> None:
        try:
            connection.transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection.socket,
                ssl=self._tls,
                ssl_handshake_timeout=SECONDS if self._tls else None,
            )
        except OSError as error:
            log.debug("a connection was not made: %s", error)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._forget_gone()
            now = time.monotonic()
            for connection in self._known.values():
                if connection.is_late(now):
                    connection.drop()

    def _forget_gone(self) -> None:
        self._known = {one: found for one, found in self._known.items() if not found.gone}

    def _drop_oldest(self) -> bool:
        for protocol, connection in self._known.items():
            if not connection.trusted:
                connection.drop()
                del self._known[protocol]
                return True
        return False

    def _say(self, what: str) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            log.warning("%s; more of this is not logged for %g s", what, _QUIET_SECONDS)

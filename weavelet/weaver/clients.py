"""One connected client: what waits to be sent to it, and the task that sends it.

Answers and the fate of entries are sent in order and never dropped; status is coalesced (whatever
changed since the last one that went out); samples are dropped, oldest first, and can be asked for
again as history. A client that does not keep up with the answers, or takes nothing for 20 s, is
cut.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import aiohttp
import msgspec
from aiohttp import WSMsgType, web

from weavelet.weaver import protocol
from weavelet.weaver.guard import Role

log = logging.getLogger("weavelet.weaver")

MAX_WAITING_BYTES = 16 * 1024 * 1024
MAX_WAITING_SAMPLE_BYTES = 4 * 1024 * 1024
_SEND_SECONDS = 20.0
_encode = msgspec.json.Encoder().encode


class Allowance:
    """How often may be asked: `at_once`, and `per_second` in the long run.

    A second of work on the answers counts as `price` further requests.
    """

    def __init__(self, at_once: int, per_second: float, price: float = 0.0) -> None:
        self._most = float(at_once)
        self._per_second = per_second
        self._price = price
        self._turns = asyncio.Lock()
        self._left = self._most
        self._at: float | None = None

    async def turn(self, requests: int = 1) -> None:
        """Return when so many more may be answered; whoever asks first has its turn first."""
        async with self._turns:
            await asyncio.sleep(self.wait(time.monotonic(), requests))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the work that is done in the meantime, in which nobody else has a turn."""
        began = time.thread_time()
        try:
            yield
        finally:
            self._left -= (time.thread_time() - began) * self._price

    def wait(self, now: float, requests: int = 1) -> float:
        """Count requests; the seconds that they have to wait."""
        passed = 0.0 if self._at is None else now - self._at
        self._left = min(self._most, self._left + passed * self._per_second) - requests
        self._at = now
        return max(0.0, -self._left / self._per_second)


class Client:
    """A WebSocket, whose it is, and what it has subscribed to.

    `news` returns what the client has not been told of the fleet, None if nothing. `spoken` is when
    it was last sent anything.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        *,
        role: Role,
        author: str,
        allowance: Allowance,
        news: Callable[[Client], bytes | None],
    ) -> None:
        self.role = role
        self.author = author
        self.allowance = allowance
        self.subscription: protocol.Subscribe | None = None
        self.runs: frozenset[str] = frozenset()
        self.version = 0
        self.rules_version = 0
        self.who = f"{author} ({role}, {request.remote})"
        self._socket = socket
        self._transport = request.transport
        self._news = news
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._samples: deque[bytes] = deque()
        self._samples_size = 0
        self.left_out = 0
        self.spoken = time.monotonic()
        self._wake = asyncio.Event()
        self._stale = False

    def subscribe(self, request: protocol.Subscribe) -> None:
        """From now on it wants this."""
        self.subscription, self.runs = request, frozenset(request.runs)

    def wants(self, run: str) -> bool:
        """Whether it has subscribed to this run."""
        return self.subscription is not None and (not self.runs or run in self.runs)

    def wants_metrics(self, run: str) -> bool:
        """Whether it has subscribed to this run's samples."""
        return self.wants(run) and self.subscription is not None and self.subscription.metrics

    def send(self, message: protocol.ServerMessage | bytes) -> None:
        """Send a message that must not be lost."""
        data = message if isinstance(message, bytes) else _encode(message)
        if self._size > MAX_WAITING_BYTES:  # without this one: a large answer is no fault of its
            self._cut("it does not keep up")
        self._waiting.append(data)
        self._size += len(data)
        self._wake.set()

    def send_samples(self, data: bytes) -> None:
        """Send samples; where too many wait already, in place of the oldest of them."""
        self._samples.append(data)
        self._samples_size += len(data)
        while self._samples_size > MAX_WAITING_SAMPLE_BYTES:
            self._samples_size -= len(self._samples.popleft())
            self.left_out += 1
            if self.left_out == 1:
                log.info("%s does not keep up with the samples: the oldest are left out", self.who)
        self._wake.set()

    def refresh(self) -> None:
        """Send what has changed in the fleet, as soon as there is room."""
        self._stale = True
        self._wake.set()

    async def write(self) -> None:
        """Send what waits, for ever. Ends when the connection does."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._write_waiting()
        except asyncio.TimeoutError:
            self._cut(f"it took nothing for {_SEND_SECONDS:g} s")
        except (aiohttp.ClientError, OSError):
            pass  # the reading side ends by itself

    async def _write_waiting(self) -> None:
        while self._waiting:
            data = self._waiting.popleft()
            self._size -= len(data)
            await self._write(data)
        if self._stale:
            self._stale = False
            news = self._news(self)
            if news is not None:
                await self._write(news)
        while self._samples and not self._waiting:
            data = self._samples.popleft()
            self._samples_size -= len(data)
            await self._write(data)
        if self._waiting:
            self._wake.set()

    async def _write(self, data: bytes) -> None:
        await asyncio.wait_for(self._socket.send_frame(data, WSMsgType.TEXT), _SEND_SECONDS)
        self.spoken = time.monotonic()

    def _cut(self, why: str) -> None:
        log.warning("cut off the client of %s: %s", self.author, why)
        self._waiting.clear()
        self._size = 0
        if self._transport is not None:
            self._transport.abort()

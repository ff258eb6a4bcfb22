"""The sidecar's end of the channel, on an asyncio loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

from weavelet.channel.frames import Reader, encode
from weavelet.channel.page import Page
from weavelet.messages import FromSidecar, FromTrainer

LOOK_SECONDS = 0.1
"""Time between two looks at what a trainer sends of its own accord."""
ANSWER_SECONDS = 1.0
"""How long after a message to the trainer its answer is waited for."""

_RECEIVE_BYTES = 1 << 16
_FULL_BYTES = 1 << 13
"""How much can at least be read from a socket that is full, be it of the smallest frames."""

_log = logging.getLogger("weavelet.sidecar")


class SidecarEnd:
    """Reads what the trainer sends, and rings its bell for what it is sent.

    The socket is waited on only while an answer may come. Else it is looked at now and then: a
    trainer that wakes somebody with each batch of samples pays several times as much for it, and on
    a busy machine loses its processor.
    """

    def __init__(self, descriptor: int, page: Page) -> None:
        """Take over the inherited socket and the page."""
        self.page = page
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._reader: Reader[FromTrainer] = Reader(FromTrainer)
        self._unsent = bytearray()
        self._sending: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._answer_until = 0.0

    @property
    def malformed(self) -> int:
        """How many frames could not be read."""
        return self._reader.malformed

    async def messages(self) -> AsyncIterator[FromTrainer]:
        """What the trainer sends, in order, until it closes its end."""
        self._expect_answer()
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except (BlockingIOError, InterruptedError):
                await self._rest()
                continue
            except OSError:
                return
            if not data:
                return
            messages = self._feed(data)
            if len(data) >= _FULL_BYTES or self._reader.incomplete:
                # There was no room for more, and a poll that hears nothing sends nothing.
                self.page.ring()
            for message in messages:
                yield message

    def remaining(self) -> list[FromTrainer]:
        """What lies in the socket of a trainer that is gone, without waiting for its end.

        A forked worker of the trainer may hold the other end open.
        """
        messages: list[FromTrainer] = []
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except OSError:
                return messages
            if not data:
                return messages
            messages += self._feed(data)

    def _feed(self, data: bytes) -> list[FromTrainer]:
        known = self._reader.malformed
        messages = self._reader.feed(data)
        if not known and self._reader.malformed:
            _log.warning("left out a frame that cannot be read; more of these are only counted")
        return messages

    def send(self, message: FromSidecar) -> None:
        """Send without waiting, and ring the bell when the trainer can read it.

        Raises:
            MalformedError: the message is too large for a frame.
        """
        self._unsent += encode(message)
        self._expect_answer()
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send_all())

    def ring(self) -> None:
        """Let the trainer's next poll look, which also sends what it holds back."""
        self.page.ring()

    def _expect_answer(self) -> None:
        self._answer_until = asyncio.get_running_loop().time() + ANSWER_SECONDS
        self._wake.set()

    async def _rest(self) -> None:
        """Until it is time to look, or something can be read that is waited for."""
        loop = asyncio.get_running_loop()
        waiting = loop.time() < self._answer_until
        if waiting:
            loop.add_reader(self._socket, self._wake.set)
        timer = loop.call_later(LOOK_SECONDS, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
            if waiting:
                loop.remove_reader(self._socket)
            self._wake.clear()

    async def _send_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._unsent:
            chunk = bytes(self._unsent)
            self._unsent.clear()
            view = memoryview(chunk)
            while view:
                try:
                    sent = self._socket.send(view)
                except (BlockingIOError, InterruptedError):
                    # The trainer does not read until it polls: let it know what is there already.
                    self.page.ring()
                    await _writable(loop, self._socket)
                    continue
                except OSError:
                    return
                view = view[sent:]
            self.page.ring()


async def _writable(loop: asyncio.AbstractEventLoop, end: socket.socket) -> None:
    ready: asyncio.Future[None] = loop.create_future()

    def resolve() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(end, resolve)
    try:
        await ready
    finally:
        loop.remove_writer(end)

"""The sidecar's end of the channel, on an asyncio loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

from weavelet.channel.frames import Reader, encode
from weavelet.channel.page import Page
from weavelet.messages import FromSidecar, FromTrainer

_RECEIVE_BYTES = 1 << 16
_log = logging.getLogger("weavelet.sidecar")


class SidecarEnd:
    """Reads what the trainer sends, and rings its bell for what it is sent."""

    def __init__(self, descriptor: int, page: Page) -> None:
        """Take over the inherited socket and the page."""
        self.page = page
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._reader: Reader[FromTrainer] = Reader(FromTrainer)
        self._unsent = bytearray()
        self._sending: asyncio.Task[None] | None = None

    @property
    def malformed(self) -> int:
        """How many frames could not be read."""
        return self._reader.malformed

    async def messages(self) -> AsyncIterator[FromTrainer]:
        """What the trainer sends, in order, until it closes its end."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self._socket, _RECEIVE_BYTES)
            except OSError:
                return
            if not data:
                return
            for message in self._feed(data):
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
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send_all())

    def ring(self) -> None:
        """Let the trainer's next poll look, which also sends what it holds back."""
        self.page.ring()

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

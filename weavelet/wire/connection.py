"""One life of a connection to a NATS server. The only module that drives nats-py.

nats-py's own reconnecting is off. It gives up quietly, has no jitter, waits for ever on a half-open
socket, sends later what its caller was told had failed, and cannot ask where the server has moved.
A connection that is lost is thrown away, with every request on it failed at once, and the bus makes
a new one.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from weavelet.exceptions import BusError
from weavelet.wire.jetstream import size_of
from weavelet.wire.request import (
    LostError,
    Msg,
    NoStreamError,
    Request,
    TooLargeError,
    status_of,
)

log = logging.getLogger("weavelet.bus")

CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 1.0
MAX_BACKLOG_BYTES = 256 * 1024
"""Unsent bytes above which core messages are refused."""

_INBOX_LIMIT_BYTES = 64 * 1024 * 1024
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Server:
    """Where a NATS server is, and the credentials file that it wants, if any."""

    url: str
    creds: str | None = None

    @property
    def where(self) -> str:
        """The addresses without user and password, for people to read."""
        return ",".join(url.rpartition("@")[2].rpartition("//")[2] for url in self.url.split(","))


class Connection:
    """One connection, from `open()` to `lost`. Not to be used again afterwards."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.lost = asyncio.Event()
        self.trouble: str | None = None
        """What nats-py reported last."""
        self.complaint: str | None = None
        self._name = name
        self._client = Client()
        self._look = asyncio.Event()
        self._inbox = ""
        self._tokens = itertools.count()
        self._waiting: dict[str, Request] = {}

    async def open(self) -> None:
        """Connect.

        Raises:
            BusError: it cannot; the text says why, without secrets.
        """
        self._check_server()
        opened = False
        try:
            await self._connect_in_time()
            opened = True
        except Exception as error:  # nats-py raises anything for a bad credentials file
            raise BusError(self._reason(error)) from error
        finally:
            if not opened:
                await self.close()

    def _check_server(self) -> None:
        for url in self.server.url.split(","):
            # nats-py's WebSocket transport can hang in close(), and its reader dies.
            if urlsplit(url).scheme not in {"nats", "tls"}:
                where = f"{urlsplit(url).scheme}://{self.server.where}"
                msg = f"expected a server address with nats:// or tls://, got {where}"
                raise BusError(msg)
        if self.server.creds is not None and not os.access(self.server.creds, os.R_OK):
            msg = f"the NATS credentials file {self.server.creds!r} cannot be read"
            raise BusError(msg)

    async def _connect_in_time(self) -> None:
        task = asyncio.ensure_future(self._connect())
        try:
            # Not wait_for: before Python 3.12 it may swallow a cancellation.
            done, _ = await asyncio.wait({task}, timeout=CONNECT_SECONDS)
        finally:
            task.cancel()
        if not done:
            raise asyncio.TimeoutError
        task.result()

    async def _connect(self) -> None:
        await self._client.connect(
            servers=self.server.url.split(","),
            name=self._name,
            user_credentials=self.server.creds,
            inbox_prefix=f"_INBOX_{self._name}",
            allow_reconnect=False,
            # 1 is "once again"; 0 and -1 never end.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=2,
            ping_interval=1,
            max_outstanding_pings=2,
            # No buffering while disconnected, and no wait for a flush while connected.
            pending_size=-1,
            error_cb=self._on_error,
            disconnected_cb=self._on_change,
            closed_cb=self._on_change,
        )
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(
            f"{self._inbox}.*", cb=self._on_answer, pending_bytes_limit=_INBOX_LIMIT_BYTES
        )

    async def watch(self) -> None:
        """Return when the connection is lost."""
        loop = asyncio.get_running_loop()
        while self._client.is_connected:
            self._look.clear()
            # Not every end of a connection reaches a callback: an error while closing skips them.
            timer = loop.call_later(_LOOK_SECONDS, self._look.set)
            try:
                await self._look.wait()
            finally:
                timer.cancel()

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = REQUEST_SECONDS,
        many: bool = False,
    ) -> list[Msg]:
        """Send, and return the answer, or with `many` all up to the one that has a status.

        Raises:
            LostError, UnansweredError: it is not known what became of it.
            NoStreamError: there is nobody to answer.
            BusError: not permitted, or larger than the server allows.
        """
        self._check_size(subject, headers, data)
        loop = asyncio.get_running_loop()
        token = str(next(self._tokens))
        waiting = self._waiting[token] = Request(subject, many, loop.create_future())
        timer = loop.call_later(timeout, waiting.expire)
        try:
            await self._send(subject, data, f"{self._inbox}.{token}", headers)
            answers = await waiting.future
        finally:
            timer.cancel()
            del self._waiting[token]
        first = answers[0]
        if not first.data and status_of(first) == "503":
            msg = (
                f"nobody answers on {subject}: "
                "its stream does not exist yet, or the server runs without JetStream"
            )
            raise NoStreamError(msg)
        return answers

    async def publish(self, subject: str, data: bytes) -> bool:
        """Send a core message, if there is room. It may be lost all the same. Never waits."""
        if self.lost.is_set() or self._client.pending_data_size > MAX_BACKLOG_BYTES:
            return False
        self._check_size(subject, None, data)
        try:
            await self._send(subject, data, "", None)
        except LostError:
            return False
        return True

    async def subscribe(self, subject: str, callback: Callable[[Msg], None]) -> Subscription:
        """Receive core messages. `callback` neither waits nor raises."""

        async def deliver(message: Msg) -> None:
            callback(message)

        try:
            return await self._client.subscribe(
                subject, cb=deliver, pending_bytes_limit=_INBOX_LIMIT_BYTES
            )
        except nats.errors.Error as error:
            raise LostError(str(error)) from error

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Take a subscription back."""
        # A connection that is closed has forgotten it.
        with suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()

    def complain(self, text: str | None) -> None:
        """Note what keeps failing on a connection that lives on; None: it works again."""
        if text is not None and text != self.complaint:
            log.info("%s", text)
        self.complaint = text

    async def flush(self) -> None:
        """Wait until the server has read all that was sent.

        Raises:
            LostError: it has not.
        """
        try:
            await self._client.flush(timeout=1)
        except (nats.errors.Error, OSError) as error:
            raise LostError(str(error)) from error

    async def close(self) -> None:
        """Fail what is under way and let go of the socket, whatever state it is in."""
        self.lost.set()
        for waiting in self._waiting.values():
            waiting.fail(LostError(self.trouble or "the connection to the NATS server ended"))
        client: Any = self._client
        # close() would first write what is left, and wait for ever on a server that does not read.
        client._pending, client._pending_data_size = [], 0  # noqa: SLF001
        writer = getattr(client._transport, "_io_writer", None)  # noqa: SLF001
        if writer is not None:
            writer.transport.abort()
        for subscription in list(client._subs.values()):  # noqa: SLF001
            # An error while closing leaves these behind.
            if task := subscription._wait_for_msgs_task:  # noqa: SLF001
                task.cancel()
        if client._flush_queue is not None:  # noqa: SLF001  None where it never connected
            await asyncio.wait({asyncio.ensure_future(client.close())}, timeout=1)

    async def _send(
        self, subject: str, data: bytes, reply: str, headers: Mapping[str, str] | None
    ) -> None:
        if self.lost.is_set():
            raise LostError(self.trouble or "the connection to the NATS server ended")
        try:
            await self._client.publish(
                subject, data, reply=reply, headers=dict(headers) if headers else None
            )
        except (nats.errors.Error, OSError) as error:
            raise LostError(str(error)) from error

    def _check_size(self, subject: str, headers: Mapping[str, str] | None, data: bytes) -> None:
        # The server closes the connection on one that is too large with its headers.
        size, limit = size_of(headers, data), self._client.max_payload
        if size > limit:
            msg = (
                f"a message for {subject} has {size} bytes, the NATS server takes {limit}: "
                "send less at once, or raise its max_payload"
            )
            raise TooLargeError(msg)

    # nats-py awaits its callbacks inside its loops: these must neither wait nor raise.

    async def _on_answer(self, message: Msg) -> None:
        waiting = self._waiting.get(message.subject.rpartition(".")[2])
        if waiting is not None:
            waiting.add(message)

    async def _on_change(self) -> None:
        self._look.set()

    async def _on_error(self, error: Exception) -> None:
        if not isinstance(error, (nats.errors.Error, OSError)):
            log.error("a subscription's callback failed", exc_info=error)
            return
        self.trouble = self._reason(error)
        self._look.set()
        if "permissions violation" in str(error).lower():
            for waiting in self._waiting.values():
                if f'"{waiting.subject.lower()}"' in str(error).lower():
                    waiting.fail(BusError(self.trouble))

    def _reason(self, error: Exception) -> str:
        where, text = self.server.where, str(error).removeprefix("nats: ")
        if isinstance(error, ConnectionRefusedError):
            return f"nothing listens at {where}"
        if isinstance(error, nats.errors.NoServersError) and self.trouble:
            return self.trouble
        if "authorization violation" in text.lower() or isinstance(
            error, nats.errors.AuthorizationError
        ):
            return f"the NATS server at {where} refuses the user, the password or the credentials"
        if "permissions violation" in text.lower():
            return f"the NATS server at {where} does not permit this user: {text}"
        if isinstance(error, asyncio.TimeoutError):
            return f"the NATS server at {where} does not answer"
        return f"the NATS server at {where}: {text or type(error).__name__}"

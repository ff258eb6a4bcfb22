"""A connection to NATS that is made anew for ever, and core messages on it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from weavelet.exceptions import BusError
from weavelet.wire.connection import Connection, Server
from weavelet.wire.request import LostError, Msg

log = logging.getLogger("weavelet.bus")

MAX_RETRY_SECONDS = 1.0


class Subscription:
    """A core subscription that outlives connections, until `close()`."""

    def __init__(
        self,
        link: Link,
        subject: str,
        callback: Callable[[Msg], None],
        attached: Callable[[], None],
    ) -> None:
        self._link = link
        self._subject = subject
        self._callback = callback
        self._attached = attached
        self._connection: Connection | None = None
        self._live: Any = None

    def is_on(self, connection: Connection) -> bool:
        """Whether `connection` knows of it."""
        return self._connection is connection

    async def attach(self, connection: Connection) -> None:
        """Subscribe on a new connection."""
        self._live = await connection.subscribe(self._subject, self._callback)
        self._connection = connection
        self._attached()

    async def close(self) -> None:
        """Receive nothing more."""
        self._link.forget(self)
        if self._connection is not None:
            await self._connection.unsubscribe(self._live)


class Link:
    """The NATS server that `resolve` names, followed wherever it goes.

    `resolve` is asked afresh before every attempt to connect; None means that no server is known
    yet. `name` is a slug, shown in NATS and part of the inbox. All methods belong to the loop in
    which `run` runs.
    """

    def __init__(self, resolve: Callable[[], Server | None], *, name: str) -> None:
        self._resolve = resolve
        self._name = name
        self._connection: Connection | None = None
        self._changed = asyncio.Event()
        self._subscriptions: list[Subscription] = []
        self._why: str | None = "not started"
        self.generation = 0
        """Counts the connections made so far."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._connection is not None

    @property
    def last_error(self) -> str | None:
        """Why there is no connection, or what the server last complained about; for people."""
        if self._connection is not None:
            return self._connection.complaint or self._connection.trouble
        return self._why

    async def run(self) -> None:
        """Connect, and again whenever the connection is lost. Ends only by cancellation."""
        failures = 0
        while True:
            server = self._ask()
            if server is None:
                await asyncio.sleep(jitter(0.25, 0.5))
                continue
            began = time.monotonic()
            connection = await self._connect(server)
            if connection is not None:
                await self._serve(connection)
            # A server that hangs up at once must not be asked in a tight loop.
            lived = connection is not None and time.monotonic() - began > MAX_RETRY_SECONDS
            failures = 0 if lived else min(failures + 1, 8)
            await asyncio.sleep(jitter(0, min(MAX_RETRY_SECONDS, 0.05 * 2**failures)))

    def _ask(self) -> Server | None:
        try:
            server = self._resolve()
        except (OSError, ValueError) as error:
            server, self._why = None, f"no NATS server is known: {error}"
        else:
            self._why = self._why if server else "no NATS server is known yet"
        return server

    async def _connect(self, server: Server) -> Connection | None:
        connection = Connection(server, self._name)
        try:
            await connection.open()
            while new := [s for s in self._subscriptions if not s.is_on(connection)]:
                for subscription in new:
                    await subscription.attach(connection)
        except BusError as error:
            if str(error) != self._why:
                log.info("%s; trying again", error)
            self._why = str(error)
            await connection.close()
            return None
        return connection

    async def _serve(self, connection: Connection) -> None:
        log.info("connected to the NATS server at %s", connection.server.where)
        self._connection = connection
        self.generation += 1
        self._announce()
        try:
            await connection.watch()
            self._why = connection.trouble or "the connection ended"
            log.warning("lost the NATS server: %s; trying again", self._why)
        except asyncio.CancelledError:
            self._why = "stopped"
            with suppress(LostError):
                await connection.flush()
            raise
        finally:
            self._connection = None
            self._announce()
            await connection.close()

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait_connected(self) -> None:
        """Return when connected."""
        await self._ready(None)

    async def wait_change(self, generation: int) -> None:
        """Return when connected for another time than the `generation`-th."""
        while self._connection is None or self.generation == generation:
            await self._changed.wait()

    async def _ready(self, seconds: float | None) -> Connection:
        until = None if seconds is None else time.monotonic() + seconds
        while self._connection is None:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return self._now()
            await _wait(self._changed, left)
        return self._connection

    def _now(self) -> Connection:
        if self._connection is None:
            msg = f"not connected to the NATS server: {self._why}"
            raise LostError(msg)
        return self._connection

    async def subscribe(self, subject: str, callback: Callable[[str, bytes], None]) -> Subscription:
        """Receive core messages as (subject, data), now and on every later connection."""
        return await self._subscribe(
            subject, lambda message: callback(message.subject, message.data)
        )

    async def _subscribe(
        self,
        subject: str,
        callback: Callable[[Msg], None],
        attached: Callable[[], None] = lambda: None,
    ) -> Subscription:
        subscription = Subscription(self, subject, callback, attached)
        self._subscriptions.append(subscription)
        if self._connection is not None:
            with suppress(LostError):
                await subscription.attach(self._connection)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Leave a subscription out of later connections; `Subscription.close` calls it."""
        with suppress(ValueError):
            self._subscriptions.remove(subscription)

    async def publish(self, subject: str, data: bytes) -> bool:
        """Send a core message that may be lost. Never waits; False if it was not even sent.

        Raises:
            BusError: it is larger than the server takes.
        """
        return self._connection is not None and await self._connection.publish(subject, data)


def jitter(least: float, most: float) -> float:
    """Seconds to wait, so that a thousand clients do not all come back in the same instant."""
    return random.uniform(least, most)  # noqa: S311  no secret


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    task = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()

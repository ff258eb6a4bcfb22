"""The bus as sidecar and weaver use it: one guarded connection to NATS, made anew for ever."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nats.aio.msg import Msg

from weavelet.exceptions import BusError
from weavelet.wire import jetstream, streams, subjects
from weavelet.wire.connection import (
    Connection,
    LostError,
    NoStreamError,
    Server,
    UnansweredError,
)
from weavelet.wire.hints import RESYNC_SECONDS, Hints
from weavelet.wire.jetstream import API, NO_MESSAGE, NO_STREAM, STATUS, ApiError, Stored

__all__ = ["Bus", "BusError", "LostRace", "Server", "StoreChanged", "Stored", "Subscription"]

log = logging.getLogger("weavelet.bus")

APPEND_SECONDS = 10.0
MAX_RETRY_SECONDS = 2.0
BATCH = 256
BATCH_BYTES = 256 * 1024
FACTS_SECONDS = 5.0

_Uncertain = (LostError, UnansweredError)


class LostRace(BusError):  # noqa: N818  an outcome that callers expect
    """Somebody else appended first; `last` is the subject's last sequence now."""

    def __init__(self, subject: str, last: int) -> None:
        super().__init__(f"{subject} has moved on to {last}")
        self.subject = subject
        self.last = last


class StoreChanged(BusError):  # noqa: N818  an event that callers expect
    """The streams are not those that were read before: the store was wiped or is another."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"the store's epoch was {expected}, it is {found} now")
        self.expected = expected
        self.found = found


@dataclass(frozen=True)
class _Facts:
    """What the server said about its store and its clock, at `read` on our monotonic clock."""

    epoch: str | None
    ahead: float
    read: float


class Subscription:
    """A core subscription that outlives connections, until `close()`."""

    def __init__(
        self,
        bus: Bus,
        subject: str,
        callback: Callable[[Msg], None],
        attached: Callable[[], None],
    ) -> None:
        self._bus = bus
        self._subject = subject
        self._callback = callback
        self._attached = attached
        self._live: Any = None

    async def attach(self, connection: Connection) -> None:
        """Subscribe on a new connection."""
        self._live = await connection.subscribe(self._subject, self._callback)
        self._attached()

    async def close(self) -> None:
        """Receive nothing more."""
        self._bus.forget(self)
        # Only the connection it was made on knows it; that one may be gone.
        with suppress(Exception):  # nats-py raises several things on a closed connection
            await self._live.unsubscribe()


class Bus:
    """The NATS server that `resolve` names, followed wherever it goes.

    `resolve` is asked afresh before every attempt to connect; None means that no server is known
    yet. `name` is a slug, shown in NATS and part of the inbox. All methods but `run` belong to the
    loop in which `run` runs; those that need the server raise BusError while it is away, unless
    they say that they wait.
    """

    def __init__(self, resolve: Callable[[], Server | None], *, name: str) -> None:
        self._resolve = resolve
        self._name = name
        self._connection: Connection | None = None
        self._changed = asyncio.Event()
        self._subscriptions: list[Subscription] = []
        self._facts: tuple[Connection, _Facts] | None = None
        self.generation = 0
        """Counts connections made so far."""
        self._why: str | None = "not started"

    @property
    def connected(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._connection is not None

    @property
    def last_error(self) -> str | None:
        """Why there is no connection, or what the server last complained about; for people."""
        if self._connection is not None:
            return self._connection.trouble
        return self._why

    # The connection.

    async def run(self) -> None:
        """Connect, and again whenever the connection is lost. Ends only by cancellation."""
        failures = 0
        while True:
            connection = await self._connect()
            if connection is None:
                failures += 1
            else:
                began = time.monotonic()
                await self._serve(connection)
                # A server that hangs up at once must not be asked in a tight loop.
                failures = 0 if time.monotonic() - began > MAX_RETRY_SECONDS else failures + 1
            # Jitter: a thousand clients must not come back in the same instant.
            await asyncio.sleep(
                random.uniform(0, min(MAX_RETRY_SECONDS, 0.1 * 2 ** min(failures, 8)))
            )

    async def _connect(self) -> Connection | None:
        try:
            server = self._resolve()
        except (OSError, ValueError) as error:
            server, self._why = None, f"no NATS server is known: {error}"
        else:
            self._why = self._why if server else "no NATS server is known yet"
        if server is None:
            await asyncio.sleep(random.uniform(0.25, 0.5))
            return None
        connection = Connection(server, self._name)
        try:
            await connection.open()
            for subscription in self._subscriptions:
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
            raise LostError(f"not connected to the NATS server: {self._why}")
        return self._connection

    # The store.

    async def create_streams(self, *, replicas: int = 1) -> None:
        """Create the streams that are missing, bring the others up to date.

        `replicas` is for those that are created. For the weaver only.

        Raises:
            BusError: the server refuses.
        """
        for config in streams.wanted():
            current = await self._config(config["name"])
            if current is None:
                try:
                    await self._api("STREAM.CREATE", streams.to_create(config, replicas))
                    continue
                except ApiError as error:
                    # Another weaver was faster; its epoch stands.
                    if error.code != jetstream.STREAM_EXISTS:
                        raise
                current = await self._config(config["name"]) or {}
            updated = streams.to_update(config, current)
            if updated is not None:
                await self._api("STREAM.UPDATE", updated)
        self._facts = None

    async def epoch(self) -> str | None:
        """The store's epoch, None while the streams do not exist."""
        return (await self._ask_facts(self._now(), FACTS_SECONDS)).epoch

    async def age(self, stored: Stored) -> float:
        """Seconds since the server stored a message, on the server's clock, never on this host's.

        While the server is away it goes on from what was last known of its clock.
        """
        if self._facts is None or (self._connection and not self._fresh(FACTS_SECONDS)):
            await self._ask_facts(self._now(), FACTS_SECONDS)
        assert self._facts is not None
        return max(0.0, time.monotonic() + self._facts[1].ahead - stored.time)

    async def purge(self, stream: str, subject: str) -> None:
        """Remove all messages of a subject, which may have wildcards."""
        body = json.dumps({"filter": subject}).encode()
        jetstream.parse(await self._answer(f"{API}.STREAM.PURGE.{stream}", body))

    def _fresh(self, seconds: float) -> bool:
        if self._facts is None or self._facts[0] is not self._connection:
            return False
        return time.monotonic() - self._facts[1].read < seconds

    async def _ask_facts(self, connection: Connection, max_age: float) -> _Facts:
        if self._facts is not None and connection is self._connection and self._fresh(max_age):
            return self._facts[1]
        before = time.monotonic()
        subject = f"{API}.STREAM.INFO.{subjects.CONTROL}"
        answer = await connection.request(subject)
        read = time.monotonic()
        try:
            info = jetstream.parse(answer[0].data)
        except ApiError as error:
            if error.code != NO_STREAM:
                raise
            return _Facts(None, 0.0, read)
        ahead = jetstream.seconds(info["ts"]) - (before + read) / 2
        facts = _Facts(streams.epoch_of(info), ahead, read)
        self._facts = (connection, facts)
        return facts

    async def _config(self, stream: str) -> dict[str, Any] | None:
        try:
            answer = jetstream.parse(await self._answer(f"{API}.STREAM.INFO.{stream}"))
        except ApiError as error:
            if error.code == NO_STREAM:
                return None
            raise
        config: dict[str, Any] = answer["config"]
        return config

    async def _api(self, verb: str, config: dict[str, Any]) -> None:
        body = json.dumps(config).encode()
        subject = f"{API}.{verb}.{config['name']}"
        # A cluster needs its time to place a stream.
        jetstream.parse(await self._answer(subject, body, timeout=5.0))

    async def _answer(self, subject: str, body: bytes = b"", *, timeout: float = 1.0) -> bytes:
        return (await self._now().request(subject, body, timeout=timeout))[0].data

    # Writing.

    async def append(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str,
        expected_last: int | None = None,
        timeout: float = APPEND_SECONDS,
    ) -> int:
        """Store a message once, waiting out an absent server, and return its sequence.

        With `expected_last` it is stored only if that is the subject's last sequence (0: none yet).
        Without it, one writer at a time per subject, else a retry after more than an hour may store
        twice.

        Raises:
            LostRace: the subject's last message is another.
            BusError: refused, too large, or not known to be stored within `timeout` seconds; then
                call again with the same `message_id`.
        """
        stream = _stream_of(subject)
        until = time.monotonic() + timeout
        headers = jetstream.append_headers(message_id, expected_last)
        doubtful = False
        while True:
            try:
                connection = await self._ready(until - time.monotonic())
                if doubtful:
                    found = await self._find(connection, stream, subject, message_id, expected_last)
                    if found:
                        return found
                return await self._store(connection, subject, data, headers)
            except ApiError as error:
                if error.code not in jetstream.WRONG_LAST:
                    raise
                with suppress(*_Uncertain, NoStreamError):
                    return await self._lost_race(stream, subject, message_id, expected_last)
                doubtful, why = True, str(error)
            except NoStreamError as error:
                why = str(error)
            except _Uncertain as error:
                doubtful, why = True, str(error)
            if time.monotonic() >= until:
                raise BusError(f"not known to be stored after {timeout:g} s: {why}")
            await asyncio.sleep(random.uniform(0.02, 0.1))

    async def store(self, subject: str, data: bytes, *, message_id: str = "") -> int:
        """Store a message in one attempt of a second at most, and return its sequence.

        Raises:
            BusError: refused, or not known to be stored.
        """
        headers = jetstream.append_headers(message_id, None)
        return await self._store(self._now(), subject, data, headers)

    async def publish(self, subject: str, data: bytes) -> bool:
        """Send a core message that may be lost. Never waits; False if it was not even sent.

        Raises:
            BusError: it is larger than the server takes.
        """
        return self._connection is not None and await self._connection.publish(subject, data)

    async def _store(
        self, connection: Connection, subject: str, data: bytes, headers: dict[str, str]
    ) -> int:
        answers = await connection.request(subject, data, headers=headers)
        sequence: int = jetstream.parse(answers[0].data)["seq"]
        return sequence

    async def _find(
        self,
        connection: Connection,
        stream: str,
        subject: str,
        message_id: str,
        expected_last: int | None,
    ) -> int | None:
        if expected_last is None:
            query: dict[str, Any] = {"last_by_subj": subject}
        else:
            query = {"seq": expected_last + 1, "next_by_subj": subject}
        stored = await self._get(connection, stream, query)
        return stored.sequence if stored and stored.id == message_id else None

    async def _lost_race(
        self, stream: str, subject: str, message_id: str, expected_last: int | None
    ) -> int:
        connection = self._now()
        # It may be our own earlier attempt that won.
        found = await self._find(connection, stream, subject, message_id, expected_last)
        if found:
            return found
        last = await self._get(connection, stream, {"last_by_subj": subject})
        raise LostRace(subject, last.sequence if last else 0)

    # Reading.

    async def last(self, stream: str, subject: str) -> Stored | None:
        """The last message of a subject as the stream's leader knows it, None if there is none."""
        return await self._get(self._now(), stream, {"last_by_subj": subject})

    async def next(self, stream: str, subject: str, after: int) -> Stored | None:
        """The first message after a sequence; None at the tail, or where a follower lags."""
        found = await self._read(self._now(), stream, subject, after, limit=1)
        return found[0] if found else None

    async def read(self, stream: str, subject: str, after: int) -> list[Stored]:
        """Some of the messages after a sequence, in order; empty at the tail, as `next`."""
        return await self._read(self._now(), stream, subject, after, limit=BATCH)

    async def follow(
        self, stream: str, subject: str, after: int, *, epoch: str, pace: float = 0.0
    ) -> AsyncIterator[Stored]:
        """All messages after a sequence, in order, for ever, through outages of the server.

        A core subscription wakes it up; what it yields is what the stream holds. `pace` is the
        least number of seconds between two looks, to read a busy subject in batches.

        Raises:
            StoreChanged: the store is not that of `epoch`.
            BusError: the server refuses.
        """
        hints = Hints()
        subscription = await self._subscribe(subject, hints.note, hints.wake)
        try:
            while True:
                try:
                    connection = await self._ready(None)
                    await self._check_epoch(connection, epoch)
                    found = await self._read(connection, stream, subject, after, limit=BATCH)
                except (*_Uncertain, NoStreamError):
                    await asyncio.sleep(random.uniform(0.02, 0.1))
                    continue
                for stored in found:
                    after = stored.sequence
                    hints.shown(stored.id)
                    yield stored
                if not found:
                    await hints.wait()
                elif pace:
                    await asyncio.sleep(pace)
        finally:
            await subscription.close()

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

    async def _check_epoch(self, connection: Connection, epoch: str) -> None:
        found = (await self._ask_facts(connection, RESYNC_SECONDS)).epoch
        if found is None:
            raise NoStreamError("the streams do not exist (yet)")
        if found != epoch:
            raise StoreChanged(epoch, found)

    async def _get(
        self, connection: Connection, stream: str, query: dict[str, Any]
    ) -> Stored | None:
        subject = f"{API}.STREAM.MSG.GET.{stream}"
        answers = await connection.request(subject, json.dumps(query).encode())
        try:
            return jetstream.stored_from_answer(jetstream.parse(answers[0].data))
        except ApiError as error:
            if error.code == NO_MESSAGE:
                return None
            raise

    async def _read(
        self, connection: Connection, stream: str, subject: str, after: int, *, limit: int
    ) -> list[Stored]:
        query = {
            "seq": after + 1,
            "next_by_subj": subject,
            "batch": limit,
            "max_bytes": BATCH_BYTES,
        }
        answers = await connection.request(
            f"{API}.DIRECT.GET.{stream}", json.dumps(query).encode(), timeout=2.0, many=True
        )
        found = []
        for answer in answers:
            headers = answer.headers or {}
            if status := headers.get(STATUS):
                # 204 ends a batch, 404 says that there is nothing.
                if status not in {"204", "404"}:
                    raise ApiError(int(status), headers.get("Description", "direct get"))
                break
            found.append(jetstream.stored_from_headers(headers, answer.data))
        return found


def _stream_of(subject: str) -> str:
    stream = subjects.stream_of(subject)
    if stream is None:
        msg = f"expected a subject that a stream keeps, got {subject!r}"
        raise ValueError(msg)
    return stream


async def _wait(event: asyncio.Event, seconds: float | None) -> None:
    task = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()

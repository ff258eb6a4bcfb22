"""The bus as sidecar and weaver use it: append to the streams, follow them, core messages."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from weavelet.exceptions import BusError
from weavelet.wire import jetstream, store, streams, subjects
from weavelet.wire.connection import Connection, Server
from weavelet.wire.hints import Hints
from weavelet.wire.jetstream import ApiError, Stored
from weavelet.wire.link import Link, Subscription, jitter, log
from weavelet.wire.request import LostError, NoStreamError, TooLargeError, UnansweredError

__all__ = [
    "Bus",
    "BusError",
    "LostRace",
    "Server",
    "StoreChanged",
    "Stored",
    "Subscription",
    "TooLargeError",
]

APPEND_SECONDS = 10.0

_FACTS_SECONDS = 5.0
_REFUSED_SECONDS = 1.0
_NO_STREAMS = "the streams do not exist yet: the weaver creates them"
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

    epoch: str
    ahead: float
    read: float
    connection: Connection


class Bus(Link):
    """The streams of the NATS server that `resolve` names, and its core messages.

    What needs the server raises BusError while it is away, unless it says that it waits.
    """

    def __init__(self, resolve: Callable[[], Server | None], *, name: str) -> None:
        super().__init__(resolve, name=name)
        self._facts: _Facts | None = None
        self._fetched = -math.inf
        self._singly: dict[tuple[str, str], int] = {}

    # The store.

    async def create_streams(self, *, replicas: int = 1) -> None:
        """Create the streams that are missing, bring the others up to date. Waits for the server.

        `replicas` is for those that are created. For the weaver only.

        Raises:
            BusError: the server refuses.
        """
        while True:
            connection = await self._ready(None)
            try:
                for config in streams.wanted():
                    await _ensure(connection, config["name"], config, replicas)
            except (*_Uncertain, NoStreamError) as error:
                connection.complain(str(error))
                await asyncio.sleep(jitter(0.1, 0.3))
            else:
                connection.complain(None)
                self._facts = None
                return

    async def epoch(self) -> str | None:
        """The store's epoch, None while the streams do not exist."""
        facts = await self._ask_facts(self._now())
        return facts.epoch if facts else None

    async def age(self, stored: Stored) -> float:
        """Seconds since the server stored a message, on the server's clock, never on this host's.

        While the server is away it goes on from what was last known of its clock.
        """
        age = await self._age(stored, -math.inf)
        if age > _FACTS_SECONDS:
            # Is it old, or was the clock set back since it was read?
            age = await self._age(stored, self._fetched)
        return max(0.0, age)

    async def _age(self, stored: Stored, since: float) -> float:
        facts = self._facts
        try:
            facts = await self._ask_facts(self._now(), since) or facts
        except _Uncertain:
            if facts is None:
                raise
        if facts is None:
            raise NoStreamError(_NO_STREAMS)
        return time.monotonic() + facts.ahead - stored.time

    async def purge(self, stream: str, subject: str) -> None:
        """Remove all messages of a subject, which may have wildcards."""
        await store.purge(self._now(), stream, subject)

    async def _ask_facts(self, connection: Connection, since: float = -math.inf) -> _Facts | None:
        """What was last said, if not before `since` on our clock and not long ago."""
        known, now = self._facts, time.monotonic()
        since = max(since, now - _FACTS_SECONDS)
        if known and known.connection is connection and known.read >= since:
            return known
        info = await store.info(connection, subjects.CONTROL)
        epoch = streams.epoch_of(info) if info else None
        if info is None or epoch is None:
            return None
        read = time.monotonic()
        ahead = jetstream.time_of(info) - (now + read) / 2
        self._facts = _Facts(epoch, ahead, read, connection)
        return self._facts

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
            TooLargeError: more bytes than the server takes.
            BusError: refused, or not known to be stored within `timeout` seconds; then
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
                    found = await _find(connection, stream, subject, message_id, expected_last)
                    if found:
                        return found
                return await self._put(connection, stream, subject, data, headers, message_id)
            except NoStreamError as error:
                why = str(error)
            except _Uncertain as error:
                # It may be stored, or be stored later. The id and the sequence keep it to once.
                doubtful, why = True, str(error)
            if time.monotonic() >= until:
                msg = f"not known to be stored after {timeout:g} s: {why}"
                raise BusError(msg)
            await asyncio.sleep(jitter(0.02, 0.1))

    async def _put(
        self,
        connection: Connection,
        stream: str,
        subject: str,
        data: bytes,
        headers: dict[str, str],
        message_id: str,
    ) -> int:
        try:
            return await store.put(connection, subject, data, headers)
        except ApiError as error:
            if error.code not in jetstream.WRONG_LAST:
                raise
        # The winner may be an earlier attempt of this very write.
        expected_last = int(headers[jetstream.EXPECTED_LAST])
        found = await _find(connection, stream, subject, message_id, expected_last)
        if found:
            return found
        last = await store.last(connection, stream, subject)
        raise LostRace(subject, last.sequence if last else 0)

    async def store(
        self, subject: str, data: bytes, *, message_id: str = "", timeout: float = 1.0
    ) -> int:
        """Store a message in one attempt of `timeout` seconds at most, and return its sequence.

        Raises:
            TooLargeError: more bytes than the server takes.
            BusError: refused, or not known to be stored.
        """
        headers = jetstream.append_headers(message_id, None)
        return await store.put(self._now(), subject, data, headers, timeout=timeout)

    # Reading.

    async def last(self, stream: str, subject: str) -> Stored | None:
        """The last message of a subject as the stream's leader knows it, None if there is none."""
        found = await store.last(self._now(), stream, subject)
        self._fetched = time.monotonic()
        return found

    async def read(self, stream: str, subject: str, after: int) -> list[Stored]:
        """Some hundred messages after a sequence, in order; none at the tail, or where it lags."""
        return await self._read(self._now(), stream, subject, after)

    async def follow(
        self, stream: str, subject: str, after: int, *, epoch: str, pace: float = 0.0
    ) -> AsyncIterator[Stored]:
        """All messages after a sequence, in order, for ever, through outages of the server.

        A core subscription wakes it up; what it yields is what the stream holds. `pace` is the
        least number of seconds between two looks, to read a busy subject in batches.

        Raises:
            StoreChanged: the store is not that of `epoch`.
        """
        hints = Hints()
        subscription = await self._subscribe(subject, hints.note, hints.wake)
        try:
            while True:
                found = await self._look(stream, subject, after, epoch)
                for stored in found or ():
                    after = stored.sequence
                    hints.shown(stored.id)
                    yield stored
                if found == []:
                    await hints.wait()
                await asyncio.sleep(pace)
        finally:
            await subscription.close()

    async def _look(self, stream: str, subject: str, after: int, epoch: str) -> list[Stored] | None:
        """What there is, None if it could not be asked; then it has waited a little."""
        connection = await self._ready(None)
        try:
            facts = await self._ask_facts(connection)
            if facts is not None and facts.epoch != epoch:
                raise StoreChanged(epoch, facts.epoch)
            if facts is not None:
                found = await self._read(connection, stream, subject, after)
                connection.complain(None)
                return found
            why, pause = _NO_STREAMS, 0.2
        except StoreChanged:
            raise
        except (*_Uncertain, NoStreamError) as error:
            why, pause = str(error), 0.05
        except BusError as error:
            why, pause = str(error), _REFUSED_SECONDS
        connection.complain(why)
        await asyncio.sleep(jitter(pause / 2, pause))
        return None

    async def _read(
        self, connection: Connection, stream: str, subject: str, after: int
    ) -> list[Stored]:
        """A batch; where the last one failed, the next messages one by one.

        On a message with headers that nats-py cannot parse it ends the connection, every time that
        the message is fetched as it is. The leader hands it out packed up in JSON.
        """
        key = (stream, subject)
        if not self._singly.get(key):
            try:
                batch = await store.read(connection, stream, subject, after)
            except BusError:
                self._singly[key] = store.BATCH
                raise
            self._fetched = time.monotonic()
            return batch
        found = await store.first_after(connection, stream, subject, after)
        self._fetched = time.monotonic()
        self._singly[key] -= 1
        return [found] if found else []


async def _ensure(connection: Connection, name: str, config: streams.Config, replicas: int) -> None:
    found = await store.info(connection, name)
    if found is None:
        if await store.create(connection, streams.to_create(config, replicas)):
            return
        # Another weaver was faster; its epoch stands.
        found = await store.info(connection, name)
    updated = streams.to_update(config, found["config"]) if found else None
    if updated is not None:
        log.info("updating the stream %s", name)
        await store.update(connection, updated)


async def _find(
    connection: Connection,
    stream: str,
    subject: str,
    message_id: str,
    expected_last: int | None,
) -> int | None:
    """The sequence under which a write of ours was stored, None if it was not."""
    if expected_last is None:
        stored = await store.last(connection, stream, subject)
    else:
        stored = await store.first_after(connection, stream, subject, expected_last)
    return stored.sequence if stored and stored.id == message_id else None


def _stream_of(subject: str) -> str:
    stream = subjects.stream_of(subject)
    if stream is None:
        msg = f"expected a subject that a stream keeps, got {subject!r}"
        raise ValueError(msg)
    return stream

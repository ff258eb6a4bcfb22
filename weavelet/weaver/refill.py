"""Reads past samples back from the report stream, after the weaver has been started anew.

It takes a bounded number of looks at the stream, whatever that holds: a replica with more than fits
into its share is read in pieces that lie evenly over its time. What comes in meanwhile is held back
until the past of its replica is there, so that a curve grows at its end only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from weavelet.exceptions import BusError, MalformedError
from weavelet.messages import ReportBatch
from weavelet.weaver.fleet import Fleet
from weavelet.weaver.history import History, Key
from weavelet.weaver.lives import LISTEN_SECONDS
from weavelet.wire import envelope, subjects
from weavelet.wire.bus import Bus, StoreChanged, Stored

log = logging.getLogger("weavelet.weaver")

MOST_LOOKS = 2000
"""Looks at the stream for all replicas together; each brings up to some hundred batches."""
MOST_SECONDS = 120.0
"""How long it may take in all; what is not read by then is left out."""
_LEAST_LOOKS, _MOST_LOOKS_EACH = 2, 200
_HELD_BATCHES = 2000
_RECALL_SECONDS = 1.0
"""Short: what else this client asks, and commands, waits behind it."""


class Refill:
    """Fills `history`, and the last values in `fleet`, for the replicas that the fleet knows."""

    def __init__(
        self, bus: Bus, fleet: Fleet, history: History, complain: Callable[[str, str], None]
    ) -> None:
        self._bus = bus
        self._fleet = fleet
        self._history = history
        self._complain = complain
        self._todo: dict[Key, None] = {}
        self._held: dict[Key, deque[ReportBatch]] = {}
        self._begun = False
        self._released = asyncio.Event()

    def add(self, key: Key, batch: ReportBatch) -> None:
        """Take a live batch in: now, or once the past of its replica is there."""
        if self._begun and key not in self._held:
            self._history.add(key, batch)
        else:
            self._hold(key).append(batch)

    async def recall(self, keys: Sequence[Key]) -> set[Key]:
        """Return when the past of these replicas is there, or soon; hurry up.

        Returns those of them whose past is still to come.
        """
        wanted = dict.fromkeys(keys)
        self._todo = {
            **{key: None for key in wanted if key in self._todo},
            **{key: None for key in self._todo if key not in wanted},
        }
        until = time.monotonic() + _RECALL_SECONDS
        while (left := until - time.monotonic()) > 0 and self._missing(keys):
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._released.wait(), left)
        return self._missing(keys)

    def _missing(self, keys: Sequence[Key]) -> set[Key]:
        return {key for key in keys if key in self._held or not self._begun}

    async def run(self) -> None:
        """Read the past, of the newest live jobs first; then return."""
        self._begin()
        count, left_out = len(self._todo), 0
        looks = max(_LEAST_LOOKS, min(_MOST_LOOKS_EACH, MOST_LOOKS // max(1, count)))
        until = time.monotonic() + MOST_SECONDS
        while self._todo:
            key = next(iter(self._todo))
            del self._todo[key]
            try:
                if time.monotonic() < until:
                    await self._read(key, looks, until)
                else:
                    left_out += 1
            except StoreChanged:
                raise
            except BusError as error:
                left_out += 1
                log.info("past samples of %s cannot be read: %s", "/".join(key), error)
            self._release(key)
        if left_out:
            log.warning("past samples of %d of %d replicas are not shown", left_out, count)

    def _begin(self) -> None:
        jobs = sorted(self._fleet.jobs(), key=lambda job: (not job.live, -job.order))
        for job in jobs:
            self._todo.update({(job.run, job.name, replica): None for replica in job.replicas})
        for key in self._todo:
            self._hold(key)
        self._begun = True
        for key in [key for key in self._held if key not in self._todo]:
            self._release(key)
        self._announce()

    def _hold(self, key: Key) -> deque[ReportBatch]:
        return self._held.setdefault(key, deque(maxlen=_HELD_BATCHES))

    def _release(self, key: Key) -> None:
        for batch in self._held.pop(key, ()):
            if not self._fleet.refused(key[0], key[1], batch):
                self._history.add(key, batch)
        self._announce()

    def _announce(self) -> None:
        released, self._released = self._released, asyncio.Event()
        released.set()

    async def _read(self, key: Key, looks: int, until: float) -> None:
        if self._fleet.disputed(*key):
            # Whose samples count is known from the heartbeats.
            await asyncio.sleep(max(0.0, self._fleet.since + LISTEN_SECONDS - time.monotonic()))
        subject = subjects.report(*key)
        last = await self._bus.last(subjects.REPORT, subject)
        if last is None:
            return
        read = 0
        first: int | None = None
        for look in range(looks):
            if first is not None:
                # Where it is behind its share of the whole it goes on a piece further.
                read = max(read, first + (last.sequence - first) * look // looks)
            found = await self._bus.read(subjects.REPORT, subject, read)
            for stored in found:
                await self._fold(key, stored)
            if not found or found[-1].sequence >= last.sequence or time.monotonic() > until:
                break
            read = found[-1].sequence
            first = found[0].sequence - 1 if first is None else first
        if read < last.sequence:
            await self._fold(key, last)

    async def _fold(self, key: Key, stored: Stored) -> None:
        try:
            batch = envelope.decode(stored.data)
        except MalformedError as error:
            self._complain(stored.subject, str(error))
            return
        if isinstance(batch, ReportBatch) and batch.replica == key[2]:
            age = await self._bus.age(stored)
            if self._fleet.recalled(key[0], key[1], batch, time.monotonic() - age):
                self._history.add(key, batch)

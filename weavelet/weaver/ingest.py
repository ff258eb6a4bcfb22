"""Reads the streams from their beginning and goes on for ever, into the fleet and the job logs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace

from weavelet.exceptions import BusError, MalformedError
from weavelet.messages import (
    Begin,
    Entry,
    External,
    Heartbeat,
    Lifecycle,
    Outcome,
    Registration,
    ReportBatch,
)
from weavelet.weaver.census import Census
from weavelet.weaver.fleet import Fleet
from weavelet.weaver.history import History, Key
from weavelet.weaver.log import JobLog, Life
from weavelet.weaver.notices import Event, Events, crash
from weavelet.weaver.refill import Refill
from weavelet.weaver.waiting import Waiting
from weavelet.wire import envelope, subjects
from weavelet.wire.bus import Bus, StoreChanged, Stored

log = logging.getLogger("weavelet.weaver")

T = TypeVar("T")
_RETRY_SECONDS = 0.2
_LAST_EVENTS = 1000
_EVENT_BYTES = 64 * 1024
_EARLY_REPORT_BYTES = 16 * 1024 * 1024
_EARLY_OUTCOME_BYTES = 64 * 1024 * 1024


class Ingest:
    """What is in the streams, as `fleet`, `logs` and `history`, once `ready` is set.

    `on_entry` is called for every entry that is new or whose fate has changed, `on_report` for
    every batch of samples, both only when ready. `stirred` is set by whatever may make a Begin, a
    Settled or a notice due; `events` are what the latter come from.
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.fleet = Fleet(time.monotonic())
        self.history = History()
        self.events = Events()
        self._refill = Refill(bus, self.fleet, self.history, self.complain)
        self.logs: dict[tuple[str, str], JobLog] = {}
        self.ready = asyncio.Event()
        self.stirred = asyncio.Event()
        self.malformed = 0
        self.census = Census()
        self.on_entry: Callable[[Life], None] = lambda life: None
        self.on_report: Callable[[str, str, ReportBatch], None] = lambda run, job, batch: None
        self._early: Waiting[tuple[str, str, str, str], ReportBatch] = Waiting(_EARLY_REPORT_BYTES)
        self._early_outcomes: Waiting[tuple[str, str, str], Outcome] = Waiting(_EARLY_OUTCOME_BYTES)
        self._complained: set[str] = set()
        self._folded = asyncio.Event()

    def log(self, run: str, job: str) -> JobLog:
        """The log of a job, empty if nothing of it was read."""
        if (run, job) not in self.logs:
            self.logs[run, job] = JobLog(run, job, self._early_outcomes)
        return self.logs[run, job]

    def forget(self, run: str, job: str) -> None:
        """Drop a job."""
        self.fleet.forget(run, job)
        self.history.forget(run, job)
        self.logs.pop((run, job), None)
        self.census.forget(run, job)
        self._announce()

    async def reached(self, run: str, job: str, sequence: int) -> None:
        """Return when the job's log is read up to a sequence."""
        while self.log(run, job).last < sequence:
            await self._folded.wait()

    async def recall(self, keys: Sequence[Key]) -> set[Key]:
        """Return when `history` holds the past of these replicas, or soon: of which it does not."""
        return await self._refill.recall(keys)

    async def run(self) -> None:
        """Read. Ends only by cancellation; another store makes it start afresh."""
        while True:
            try:
                await self._read_store(await self._epoch())
            except StoreChanged as change:
                log.warning("%s: reading it from the beginning", change)
            except BusError as error:
                log.warning("the streams cannot be read: %s; trying again", error)
                await asyncio.sleep(1.0)

    async def _epoch(self) -> str:
        while True:
            await self.bus.wait_connected()
            epoch = await self._insist(self.bus.epoch)
            if epoch is not None:
                return epoch
            await asyncio.sleep(_RETRY_SECONDS)

    async def _read_store(self, epoch: str) -> None:
        self.ready.clear()
        self.fleet.clear(time.monotonic())
        self.history.clear()
        self._refill = Refill(self.bus, self.fleet, self.history, self.complain)
        self.events.clear()
        self._early.clear()
        self._early_outcomes.clear()
        self.logs.clear()
        self.census.clear()
        self._announce()
        beats = await self.bus.subscribe(subjects.ALL_HEARTBEATS, self._on_heartbeat)
        reports = await self.bus.subscribe(subjects.ALL_REPORTS, self._on_report)
        try:
            caught_up = [asyncio.Event(), asyncio.Event()]
            await together(
                self._follow(subjects.CONTROL, subjects.ALL_CONTROL, epoch, caught_up[0]),
                self._follow(subjects.OUTCOME, subjects.ALL_OUTCOMES, epoch, caught_up[1]),
                self._follow_events(epoch),
                self._become_ready(caught_up),
            )
        finally:
            await beats.close()
            await reports.close()

    async def _become_ready(self, caught_up: list[asyncio.Event]) -> None:
        for event in caught_up:
            await event.wait()
        self.fleet.tick(time.monotonic())
        self.ready.set()
        self.stirred.set()
        await self._refill.run()
        await asyncio.Event().wait()

    async def _follow(
        self, stream: str, subject: str, epoch: str, caught_up: asyncio.Event
    ) -> None:
        last = await self._insist(partial(self.bus.last, stream, subject))
        if last is None:
            caught_up.set()
        async for stored in self.bus.follow(stream, subject, 0, epoch=epoch):
            age = await self._insist(partial(self.bus.age, stored))
            self._fold(stored, time.monotonic() - age)
            if last is not None and stored.sequence >= last.sequence:
                caught_up.set()

    async def _follow_events(self, epoch: str) -> None:
        """From the last ones on: what happened long ago is not told any more."""
        subject = subjects.ALL_EXTERNAL
        last = await self._insist(partial(self.bus.last, subjects.EXTERNAL, subject))
        after = max(0, last.sequence - _LAST_EVENTS) if last else 0
        async for stored in self.bus.follow(subjects.EXTERNAL, subject, after, epoch=epoch):
            age = await self._insist(partial(self.bus.age, stored))
            self._fold_event(stored, time.monotonic() - age)

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except StoreChanged:
                raise
            except BusError:
                await asyncio.sleep(_RETRY_SECONDS)
                await self.bus.wait_connected()

    # Folding.

    def _fold(self, stored: Stored, at: float) -> None:
        where = subjects.parse(stored.subject)
        message = self._decode(stored.subject, stored.data)
        if where is None or not self.census.admits(where.run, where.job, where.replica):
            return
        if where.kind == "control":
            self._fold_entry(where.run, where.job, stored, message, at)
            return
        match message:
            case Registration():
                who = message.identity
                if (who.run, who.job, who.replica) == (where.run, where.job, where.replica):
                    fitted = self.census.fitted(message, len(stored.data), stored.subject)
                    self.fleet.registered(fitted, stored.sequence, at)
                    place = (who.run, who.job, who.replica, who.incarnation)
                    for batch in self._early.take(place):
                        self._take_report(who.run, who.job, batch)
                else:
                    self.complain(stored.subject, "it registers another replica")
            case Outcome(replica=where.replica):
                self.fleet.answered(where.run, where.job, message, at)
                self._tell(self.log(where.run, where.job).decided(message, len(stored.data)))
            case Lifecycle(replica=where.replica):
                self.fleet.ended(where.run, where.job, message, at)
                if message.state == "crashed":
                    crashed = (where.run, where.job, where.replica, message.incarnation)
                    self.events.happened(crash(stored.sequence, at, crashed, message.reason))
            case None:
                return
            case _:
                self.complain(stored.subject, f"{type(message).__name__} does not belong there")
        self.stirred.set()

    def _fold_event(self, stored: Stored, at: float) -> None:
        where = subjects.parse(stored.subject)
        if len(stored.data) > _EVENT_BYTES:
            self.complain(stored.subject, f"an event of {len(stored.data)} bytes")
            return
        message = self._decode(stored.subject, stored.data)
        if where is None or message is None:
            return
        if not isinstance(message, External):
            self.complain(stored.subject, f"{type(message).__name__} is no event")
        elif message.source not in ("", where.source):
            self.complain(stored.subject, "it says that it comes from another source")
        elif not subjects.is_slug(message.kind):
            self.complain(stored.subject, "its kind is not 1 to 64 of A-Z a-z 0-9 _ -")
        else:
            external = replace(message, source=where.source)
            self.events.happened(Event(f"external {stored.sequence}", at, external))
            self.stirred.set()

    def _fold_entry(self, run: str, job: str, stored: Stored, message: Any, at: float) -> None:
        found = self.log(run, job)
        if not isinstance(message, Entry):
            if message is not None:
                self.complain(stored.subject, f"{type(message).__name__} is no entry")
            found.skipped(stored.sequence)
        else:
            life = found.read(message, stored.sequence, stored.time, at)
            if isinstance(message.body, Begin):
                self.fleet.began(run, job, stored.sequence, stored.time)
            self.fleet.froze(run, job, found.frozen_by)
            self._tell(life)
        self._announce()
        self.stirred.set()

    def _on_heartbeat(self, subject: str, data: bytes) -> None:
        where = subjects.parse(subject)
        message = self._decode(subject, data)
        if where is None or message is None:
            return
        if not isinstance(message, Heartbeat) or message.replica != where.replica:
            self.complain(subject, "expected a heartbeat of this replica")
            return
        message = self.census.fitted_beat(message, len(data), subject)
        if self.fleet.beat(where.run, where.job, message, time.monotonic()):
            found = self.logs.get((where.run, where.job))
            for life in found.received(message.replica, message.received) if found else ():
                self._tell(life)

    def _on_report(self, subject: str, data: bytes) -> None:
        where = subjects.parse(subject)
        message = self._decode(subject, data)
        if where is None or message is None:
            return
        if not isinstance(message, ReportBatch) or message.replica != where.replica:
            self.complain(subject, "expected a report of this replica")
        elif self.fleet.incarnation_of(where.run, where.job, message) is None:
            # Its registration comes by another way, and may be a little later.
            place = (where.run, where.job, where.replica, message.incarnation)
            self._early.keep(place, message, len(data))
        else:
            self._take_report(where.run, where.job, message)

    def _take_report(self, run: str, job: str, batch: ReportBatch) -> None:
        if self.fleet.reported(run, job, batch, time.monotonic()):
            self._refill.add((run, job, batch.replica), batch)
            if self.ready.is_set():
                self.on_report(run, job, batch)

    def _tell(self, life: Life | None) -> None:
        if life is not None and self.ready.is_set():
            self.on_entry(life)

    def _announce(self) -> None:
        folded, self._folded = self._folded, asyncio.Event()
        folded.set()

    def _decode(self, subject: str, data: bytes) -> Any:
        try:
            return envelope.decode(data)
        except MalformedError as error:
            self.complain(subject, str(error))
            return None

    def complain(self, place: str, why: str) -> None:
        """Count a message that cannot be read, and log the first of each place."""
        self.malformed += 1
        if place not in self._complained and len(self._complained) < 1000:
            self._complained.add(place)
            log.warning("ignored a message on %s: %s; more of these are only counted", place, why)


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends or fails; then cancel the others, and fail as it did."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

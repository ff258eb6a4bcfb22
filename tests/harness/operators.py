"""An operator without weaver: appends to a job's control log, reads what replicas say."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import asynccontextmanager

from harness.nats import connected_bus
from weavelet.messages import Entry, Heartbeat, Lifecycle, Outcome, Registration, ReportBatch
from weavelet.wire import subjects
from weavelet.wire.envelope import decode, encode

DEADLINE_SECONDS = 20.0


class Operator:
    """Commands one job and remembers all that was said in it."""

    def __init__(self, bus, run, job):
        self.bus = bus
        self.heard = []
        self._control = subjects.control(run, job)
        self._news = asyncio.Event()
        self._numbers = itertools.count(1)

    def hear(self, subject, data):
        self.heard.append((time.monotonic(), decode(data)))
        self._news.set()

    def of(self, kind):
        """All messages of a kind, oldest first."""
        return [message for _, message in self.heard if isinstance(message, kind)]

    async def until(self, condition, seconds=DEADLINE_SECONDS):
        """Wait for what `condition` finds in what was said; returns that."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            self._news.clear()
            left = deadline - time.monotonic()
            if left <= 0:
                last = [type(message).__name__ for message in self.heard[-9:]]
                raise AssertionError(f"not within {seconds} s; heard last: {last}")
            try:
                await asyncio.wait_for(self._news.wait(), left)
            except asyncio.TimeoutError:
                continue
        return found

    async def registered(self, *names, incarnation=None):
        """Wait for a registration that has these controls."""

        def found():
            for message in reversed(self.of(Registration)):
                known = {spec.name for spec in message.controls}
                mine = incarnation in (None, message.identity.incarnation)
                if mine and known.issuperset(names):
                    return message
            return None

        return await self.until(found)

    async def append(self, body, *, addressed=("trainer-0",), deadline=60.0, **fields):
        """Put an entry into the log; returns it."""
        entry = Entry(
            id=f"e{next(self._numbers)}-{time.monotonic_ns()}",
            author="test",
            body=body,
            addressed=addressed,
            deadline=deadline,
            **fields,
        )
        await self.bus.append(self._control, encode(entry), message_id=entry.id)
        return entry

    async def outcome(self, entry, seconds=DEADLINE_SECONDS):
        """Wait for the first outcome of an entry."""
        return await self.until(
            lambda: next((o for o in self.of(Outcome) if o.entry == entry.id), None), seconds
        )

    async def command(self, body, **fields):
        """Put an entry into the log and wait for its outcome."""
        return await self.outcome(await self.append(body, **fields))

    async def ended(self, seconds=DEADLINE_SECONDS):
        """Wait for the last word about a replica."""
        return await self.until(lambda: next(iter(self.of(Lifecycle)), None), seconds)

    async def state(self, name, seconds=DEADLINE_SECONDS):
        """Wait for a heartbeat with this state from now on."""
        seen = len(self.of(Heartbeat))
        return await self.until(
            lambda: next((h for h in self.of(Heartbeat)[seen:] if h.state == name), None), seconds
        )

    def samples(self):
        """The counts of all samples that have come.

        A batch that the server did not confirm in time is sent again. It is stored once, but who
        listens sees it twice.
        """
        batches = {}
        for batch in self.of(ReportBatch):
            batches.setdefault(batch.first, len(batch.steps))
        return [first + at for first, count in batches.items() for at in range(count)]


@asynccontextmanager
async def operating(nats, run="train", job="job-1"):
    """An operator of a job on a real nats-server, with the weaver's streams."""
    async with connected_bus(nats) as bus:
        operator = Operator(bus, run, job)
        for subject in (subjects.ALL_OUTCOMES, subjects.ALL_HEARTBEATS, subjects.ALL_REPORTS):
            await bus.subscribe(subject, operator.hear)
        yield operator

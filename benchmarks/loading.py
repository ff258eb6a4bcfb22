"""A fleet that is not there: replicas that register, beat and report over the real protocol.

    python loading.py NATS_URL COUNT

Each beats and reports once a second, spread evenly over it; a line says when all have registered.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from weavelet.messages import ControlSpec, Device, Heartbeat, Identity, Registration, ReportBatch
from weavelet.wire import envelope, subjects
from weavelet.wire.bus import Bus, Server

RUN, JOB = "load", "job-1"
CONTROLS = (
    ControlSpec(
        name="lr",
        kind="control",
        schema='{"type": "number", "exclusiveMinimum": 0, "maximum": 1}',
        doc="Learning rate.",
        value=0.1,
    ),
    ControlSpec(name="batch_size", kind="control", schema='{"type": "integer"}', value=64),
    ControlSpec(
        name="save",
        kind="action",
        schema='{"type": "object", "properties": {"path": {"type": "string"}}}',
    ),
)
VITALS = {
    "process_cpu_percent": 101.5,
    "process_rss_bytes": 2.1e9,
    "host_cpu_percent": 55.0,
    "host_memory_used_bytes": 6e10,
    "host_memory_total_bytes": 2.5e11,
}
TICK_SECONDS = 0.01
SETTLE_SECONDS = 1.0
PAST = 300
"""Samples that each has reported before, all at once."""


class Trainer:
    """One replica."""

    def __init__(self, number: int) -> None:
        self.name = f"rank-{number}"
        self.step = 0
        self.first = 0
        self._host = f"node-{number // 8}"
        self._device = Device(
            id=f"GPU-{number}",
            kind="gpu",
            utilization_percent=97.0,
            temperature_celsius=61.0,
            memory_used_bytes=6e10,
            memory_total_bytes=8e10,
            power_watts=512.0,
        )

    def registration(self) -> bytes:
        """Who it is and what can be set."""
        who = Identity(run=RUN, job=JOB, replica=self.name, incarnation="a", pid=1, host=self._host)
        return envelope.encode(Registration(identity=who, controls=CONTROLS))

    def beat(self) -> bytes:
        """The heartbeat of this second."""
        said = Heartbeat(
            replica=self.name,
            incarnation="a",
            state="running",
            step=self.step,
            rate=10.0,
            sampled=self.first,
            vitals=VITALS,
            devices=(self._device,),
        )
        return envelope.encode(said)

    def report(self, count: int = 1) -> bytes:
        """The next samples, with the moment at which they are sent."""
        first, self.first = self.first, self.first + count
        self.step = self.first * 10
        losses = [1.0 / (1 + number) for number in range(first, self.first)]
        batch = ReportBatch(
            replica=self.name,
            incarnation="a",
            first=first,
            steps=tuple(range(first * 10, self.step, 10)),
            at=(time.time(),) * count,
            columns={
                "loss": tuple(losses),
                "accuracy": tuple(1 - loss for loss in losses),
                "lr": (0.1,) * count,
            },
        )
        return envelope.encode(batch)


async def each(trainers: list[Trainer], act: Callable[[Trainer], Awaitable[object]]) -> None:
    """Do something for all trainers, for some of them at a time."""
    room = asyncio.Semaphore(32)

    async def one(trainer: Trainer) -> None:
        async with room:
            await act(trainer)

    await asyncio.gather(*map(one, trainers))


async def begin(bus: Bus, trainers: list[Trainer]) -> None:
    """Put all registrations into the stream, and what was reported until now."""

    async def register(trainer: Trainer) -> None:
        subject = subjects.outcome(RUN, JOB, trainer.name)
        name = f"registration-{trainer.name}"
        await bus.append(subject, trainer.registration(), message_id=name)

    await each(trainers, register)
    await asyncio.sleep(SETTLE_SECONDS)

    async def store(trainer: Trainer) -> None:
        subject = subjects.report(RUN, JOB, trainer.name)
        await bus.store(subject, trainer.report(PAST), timeout=30)

    await each(trainers, store)


async def drive(bus: Bus, trainers: list[Trainer]) -> None:
    """Beat and report for ever; each has its place in the second."""
    count = len(trainers)
    began, done = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * count)
        now = [trainers[number % count] for number in range(done, due)]
        done = max(done, due)
        for trainer in now:
            # A sidecar waits until they are stored; a thousand at once cannot here.
            await bus.publish(subjects.report(RUN, JOB, trainer.name), trainer.report())
            await bus.publish(subjects.heartbeat(RUN, JOB, trainer.name), trainer.beat())
        await asyncio.sleep(TICK_SECONDS)


async def main() -> None:
    url, count = sys.argv[1], int(sys.argv[2])
    trainers = [Trainer(number) for number in range(count)]
    bus = Bus(lambda: Server(url), name="load")
    running = asyncio.ensure_future(bus.run())
    await bus.wait_connected()
    await begin(bus, trainers)
    print("ready", flush=True)
    await asyncio.gather(running, drive(bus, trainers))


if __name__ == "__main__":
    asyncio.run(main())

"""A fleet that is not there: replicas that register, beat and report over the real protocol.

    python loading.py NATS_URL COUNT

Each beats and reports once a second, spread evenly over it; a line says when all have registered.
"""

from __future__ import annotations

import asyncio
import sys
import time

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

    def report(self) -> bytes:
        """The sample of this second, with the moment at which it is taken."""
        self.step += 10
        self.first += 1
        loss = 1.0 / self.step
        batch = ReportBatch(
            replica=self.name,
            incarnation="a",
            first=self.first - 1,
            steps=(self.step,),
            at=(time.time(),),
            columns={"loss": (loss,), "accuracy": (1 - loss,), "lr": (0.1,)},
        )
        return envelope.encode(batch)


async def register(bus: Bus, trainers: list[Trainer]) -> None:
    """Put all registrations into the stream, some at a time."""
    room = asyncio.Semaphore(32)

    async def one(trainer: Trainer) -> None:
        async with room:
            await bus.append(
                subjects.outcome(RUN, JOB, trainer.name),
                trainer.registration(),
                message_id=f"registration-{trainer.name}",
            )

    await asyncio.gather(*map(one, trainers))


async def drive(bus: Bus, trainers: list[Trainer]) -> None:
    """Beat and report for ever; each has its place in the second."""
    count = len(trainers)
    began, done = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * count)
        for number in range(done, due):
            trainer = trainers[number % count]
            subject = subjects.report(RUN, JOB, trainer.name)
            await bus.publish(subject, trainer.report())
            await bus.publish(subjects.heartbeat(RUN, JOB, trainer.name), trainer.beat())
        done = max(done, due)
        await asyncio.sleep(TICK_SECONDS)


async def main() -> None:
    url, count = sys.argv[1], int(sys.argv[2])
    trainers = [Trainer(number) for number in range(count)]
    bus = Bus(lambda: Server(url), name="load")
    running = asyncio.ensure_future(bus.run())
    await bus.wait_connected()
    await register(bus, trainers)
    print("ready", flush=True)
    await asyncio.gather(running, drive(bus, trainers))


if __name__ == "__main__":
    asyncio.run(main())

"""A small fleet of the load benchmark's replicas: everything that they say arrives."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from loading import JOB, RUN, Trainer

from harness.nats import asynchronous, running_bus
from harness.weaver import serving, talking
from weavelet.wire import subjects
from weavelet.wire.bus import Server

COUNT, SAMPLES = 40, 5


@asynchronous
async def test_a_fleet_arrives_whole(tmp_path):
    """Every replica has its row, and every sample comes once and in order."""
    trainers = [Trainer(number) for number in range(COUNT)]
    async with (
        serving(tmp_path) as service,
        running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
        talking(service.endpoint) as talk,
    ):
        await asyncio.wait_for(bus.wait_connected(), 20)
        for trainer in trainers:
            subject = subjects.outcome(RUN, JOB, trainer.name)
            await bus.append(subject, trainer.registration(), message_id=trainer.name)
            await bus.publish(subjects.heartbeat(RUN, JOB, trainer.name), trainer.beat())
        await talk.rows(lambda rows: len(rows) == COUNT)
        await talk.ask("subscribe", metrics=True)
        for _ in range(SAMPLES):
            for trainer in trainers:
                subject = subjects.report(RUN, JOB, trainer.name)
                await bus.store(subject, trainer.report(), timeout=20.0)
        seen = defaultdict(list)
        while sum(map(len, seen.values())) < COUNT * SAMPLES:
            said = await talk.until(lambda message: message["type"] == "metrics")
            seen[said["replica"]] += said["steps"]
    assert seen == {trainer.name: [0, 10, 20, 30, 40] for trainer in trainers}

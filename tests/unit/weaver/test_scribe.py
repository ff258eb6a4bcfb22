from __future__ import annotations

import asyncio

from harness.nats import asynchronous
from weavelet.weaver.ingest import Ingest
from weavelet.weaver.scribe import Scribe
from weavelet.wire.bus import Bus


@asynchronous
async def test_who_writes_to_one_log_takes_turns_and_leaves_nothing_behind():
    """There is one lock as long as anybody has it or waits, and none afterwards."""
    bus = Bus(lambda: None, name="test")
    scribe = Scribe(bus, Ingest(bus))
    order = []

    async def write(number):
        async with scribe._turn("train", "j1"):
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(write(1), write(2), write(3))
    assert order == [1, 1, 2, 2, 3, 3]
    assert len(scribe._turns) == 0

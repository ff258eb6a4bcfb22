"""A long time without a server: bounded memory, and everything that must be kept is kept."""

from __future__ import annotations

import asyncio
import time

from harness.faults import memory_of, sidecar_of
from harness.nats import connected_bus, running_nats, within
from harness.trainers import training
from weavelet.messages import Lifecycle, Registration
from weavelet.weaver.nats_server import NatsServer
from weavelet.wire import subjects
from weavelet.wire.envelope import decode

SCRIPT = """
import json, sys, threading, time
import weavelet
from weavelet.channel.page import Page

orders = []
threading.Thread(target=lambda: orders.extend(iter(sys.stdin.readline, "")), daemon=True).start()

def say(**event):
    print(json.dumps(event), flush=True)

with weavelet.session("trainer-0") as w:
    step, burst = 0, int(sys.argv[1])
    while len(orders) < 1:
        w.poll(step)
        w.report(step, loss=1.0 / (step + 1), accuracy=0.5, lr=0.1)
        step += 1
        if step % burst == 0:
            say(reports=step, sampled=w._page.words[Page.SAMPLED])
            time.sleep(0.01)
say(steps=step)
"""

FULL_AT = 150_000
"""Reports by which every ring has long gone round."""
GROWTH_BYTES = 4 << 20
"""Python takes memory a megabyte at a time; 300,000 reports kept would be 50 times as much."""


def test_memory_is_bounded_while_there_is_no_server(tmp_path, sized, figure):
    """Once the rings are full, neither trainer nor sidecar grows by more than some megabytes."""
    seconds, reports, burst = sized((0, 3 * FULL_AT, 2000), (600, 0, 100))
    with training(SCRIPT, str(burst), stdin=True, **names("nats://127.0.0.1:1")) as trainer:
        reached(trainer, FULL_AT)
        sidecar = sidecar_of(trainer.pid)
        began = time.monotonic()
        first = memory_of(trainer.pid), memory_of(sidecar)
        most = first
        while True:
            count = trainer.event("reports")["reports"]
            now = memory_of(trainer.pid), memory_of(sidecar)
            most = max(most[0], now[0]), max(most[1], now[1])
            if count >= reports and time.monotonic() - began >= seconds:
                break
        trainer.say("enough")
        assert trainer.wait() == 0
    growth = most[0] - first[0], most[1] - first[1]
    figure(
        f"{count} reports in {time.monotonic() - began:.0f} s without a server: trainer "
        f"{first[0] >> 20} MiB, + {growth[0] >> 10} KiB; sidecar {first[1] >> 20} MiB, "
        f"+ {growth[1] >> 10} KiB"
    )
    assert growth[0] < GROWTH_BYTES
    assert growth[1] < GROWTH_BYTES


def test_what_must_be_kept_is_kept_through_an_outage(tmp_path):
    """Registered before, ended after: the stream has the one life whole, once."""
    with running_nats(tmp_path / "nats") as nats:
        asyncio.run(make_streams(nats))
        with training(SCRIPT, "500", stdin=True, **names(nats.url)) as trainer:
            asyncio.run(outcomes_until(nats, Registration))
            asyncio.run(nats.stop())
            reached(trainer, 10_000)
            asyncio.run(nats.start())
            # Who ends while it cannot be heard has a second to be; this one is heard again.
            asyncio.run(heard(nats))
            trainer.say("enough")
            assert trainer.wait() == 0
            messages = asyncio.run(outcomes_until(nats, Lifecycle))
    assert [type(message) for message in messages] == [Registration, Lifecycle]
    assert messages[-1].state == "exited"


def names(url):
    return {"WEAVELET_RUN": "train", "WEAVELET_JOB": "job-1", "WEAVELET_NATS_URL": url}


def reached(trainer, count):
    while trainer.event("reports", 60)["reports"] < count:
        pass


async def make_streams(nats: NatsServer):
    async with connected_bus(nats):
        pass


async def heard(nats):
    """Return at the next heartbeat."""
    beat = asyncio.Event()
    async with connected_bus(nats, streams=False) as bus:
        await bus.subscribe(subjects.ALL_HEARTBEATS, lambda subject, data: beat.set())
        await within(beat.wait())


async def outcomes_until(nats, kind):
    """All that a replica has said, once the last of it is of a kind."""
    async with connected_bus(nats, streams=False) as bus:
        messages = []
        epoch = await bus.epoch()
        async for stored in bus.follow(subjects.OUTCOME, subjects.ALL_OUTCOMES, 0, epoch=epoch):
            messages.append(decode(stored.data))
            if isinstance(messages[-1], kind):
                break
    return messages

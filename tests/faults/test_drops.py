"""Reports that nobody takes: dropped at no cost, counted, and the count is the truth."""

from __future__ import annotations

import asyncio
import time

from harness.faults import go_on, lasting, sidecar_of, stop
from harness.nats import connected_bus
from harness.stage import staged
from harness.trainers import training
from harness.watching import watching
from weavelet.messages import ReportBatch
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
    say(started=True)
    step, longest, told = 0, 0.0, False
    while len(orders) < 2:
        began = time.perf_counter()
        w.poll(step)
        w.report(step, loss=1.0, accuracy=0.5, lr=0.1)
        longest = max(longest, time.perf_counter() - began)
        if not told and w._page.words[Page.DROPPED] > 10_000:
            told = True
            say(dropping=True)
        step += 1
        # Flat out, until told to be modest.
        time.sleep(0.001 if orders else 0)
say(steps=step, longest=longest)
"""


def test_what_a_frozen_sidecar_does_not_take_is_counted_exactly(tmp_path, sized, figure):
    """No step waits for it; dropped, as shown, is what is missing in the report stream."""
    seconds = sized(1.0, 30.0)
    with (
        staged(tmp_path) as stage,
        training(SCRIPT, stdin=True, **stage.names("train", "job-1")) as trainer,
        watching(stage) as watcher,
    ):
        watcher.state("running")
        sidecar = sidecar_of(trainer.pid)
        began = time.monotonic()
        stop(sidecar)
        trainer.event("dropping", seconds=60)
        lasting(began + seconds - time.monotonic())
        trainer.say("modest")
        thawed = time.monotonic()
        go_on(sidecar)
        _, row = watcher.until(lambda row: row.dropped > 0, since=thawed)
        # Two heartbeats with the same count: nothing is being dropped any more.
        settled = row.sampled
        _, row = watcher.until(lambda row: row.sampled > settled + 1500, since=thawed, seconds=60)
        trainer.say("enough")
        end = trainer.event("steps")
        assert trainer.wait() == 0
        watcher.state("exited")
        counts = asyncio.run(stored_counts(stage.nats))
    dropped, steps = row.dropped, end["steps"]
    missing = set(range(steps)) - set(counts)
    figure(
        f"{steps} reports, sidecar stopped for {thawed - began:.1f} s: {dropped} shown as dropped, "
        f"{len(missing)} missing; longest poll + report {1e3 * end['longest']:.1f} ms"
    )
    assert len(counts) == len(set(counts))
    assert len(missing) == dropped > 10_000
    assert end["longest"] < 0.5


async def stored_counts(nats):
    """The counts of all samples in the report stream."""
    counts, last = [], 0
    async with connected_bus(nats) as bus:
        while found := await bus.read(subjects.REPORT, subjects.ALL_REPORTS, last):
            for stored in found:
                last = stored.sequence
                batch = decode(stored.data)
                assert isinstance(batch, ReportBatch)
                counts += range(batch.first, batch.first + len(batch.steps))
    return counts

"""What the sidecar takes for itself."""

from __future__ import annotations

import asyncio
import time

import psutil
import pytest

from harness.nats import asynchronous
from harness.operators import operating
from harness.trainers import training

SECONDS = 10.0
TRAINERS = {
    "beside an idle trainer": """
import json, sys, time
import weavelet
with weavelet.session("trainer-0") as w:
    w.poll(0)
    print(json.dumps({"sidecar": w.sidecar_pid}), flush=True)
    while True:
        time.sleep(1)
        w.poll(0)
""",
    "at 100 steps/s": """
import json, sys, time
import weavelet
with weavelet.session("trainer-0") as w:
    print(json.dumps({"sidecar": w.sidecar_pid}), flush=True)
    for step in range(10**9):
        w.poll(step)
        w.report(step, loss=0.5, accuracy=0.25, lr=1e-3)
        time.sleep(0.01)
""",
}


@pytest.mark.parametrize("kind", TRAINERS)
@asynchronous
async def test_memory_and_processor(figures, nats, tmp_path, kind):
    """Connected; memory is what no other process shares, the processor's share over ten seconds."""
    names = {
        "WEAVELET_NATS_URL": nats.url,
        "WEAVELET_RUN": "train",
        "WEAVELET_JOB": "job-1",
        "WEAVELET_HOME": str(tmp_path),
    }
    async with operating(nats) as operator:
        with training(TRAINERS[kind], **names) as trainer:
            await operator.registered()
            process = psutil.Process(trainer.event("sidecar")["sidecar"])
            await asyncio.sleep(2)
            before, began = _spent(process), time.monotonic()
            await asyncio.sleep(SECONDS)
            share = (_spent(process) - before) / (time.monotonic() - began) * 100
            memory = process.memory_full_info()
    idle = "idle" in kind
    figures.add(
        f"sidecar {kind}, private memory", memory.uss / 1e6, "MB", at_most=40 if idle else None
    )
    figures.add(f"sidecar {kind}, resident memory", memory.rss / 1e6, "MB")
    figures.add(f"sidecar {kind}, of a core", share, "%", at_most=1 if idle else None)


def _spent(process):
    times = process.cpu_times()
    return times.user + times.system

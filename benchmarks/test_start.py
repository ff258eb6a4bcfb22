"""Importing, starting, and being there."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from harness.nats import asynchronous
from harness.operators import operating
from harness.trainers import training

ROUNDS = 15
STARTS = """
import json, time
import weavelet
session = weavelet.session("starts")
began = time.monotonic()
session.start()
print(json.dumps({"began": began, "started": time.monotonic()}), flush=True)
while not session.stop_requested:
    session.poll()
    time.sleep(0.001)
"""
LOADED = """
import sys, weavelet
print([name for name in ("nats", "google.protobuf", "aiohttp", "torch") if name in sys.modules])
"""


def milliseconds(code, environment):
    """Wall time of a process of its own."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    return (time.perf_counter() - began) * 1e3


def test_import(figures, tmp_path):
    """Beside an interpreter that does nothing, and one that loads asyncio; all from bytecode."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    programs = {
        "pass": "pass",
        "import weavelet": "import weavelet",
        "pass again": "pass",
        "import asyncio": "import asyncio",
    }
    for code in programs.values():
        milliseconds(code, environment)
    taken = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, code in programs.items():
            taken[name].append(milliseconds(code, environment))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    bare = medians["pass"]
    figures.add(
        "import weavelet", medians["import weavelet"] - bare, "ms", at_most=60, note="own process"
    )
    figures.add("import asyncio", medians["import asyncio"] - bare, "ms", note="to compare")
    figures.add("python -c pass", bare, "ms")
    figures.add("python -c pass (A against A)", medians["pass again"] / bare, "x")
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


@asynchronous
async def test_start_and_connect(figures, nats, tmp_path):
    """A process of its own each time; connected is when its registration comes off the bus."""
    started, connected = [], []
    for number in range(7):
        async with operating(nats, job=f"job-{number}") as operator:
            names = {
                "WEAVELET_NATS_URL": nats.url,
                "WEAVELET_RUN": "train",
                "WEAVELET_JOB": f"job-{number}",
                "WEAVELET_HOME": str(tmp_path),
            }
            with training(STARTS, **names) as trainer:
                await operator.registered()
                said = trainer.event("began")
                connected.append(time.monotonic() - said["began"])
                started.append(said["started"] - said["began"])
    figures.add("start() returns", statistics.median(started) * 1e3, "ms", at_most=20)
    figures.add(
        "start() to connected",
        statistics.median(connected),
        "s",
        at_most=1,
        note=f"slowest of {len(connected)}: {max(connected):.2f}",
    )

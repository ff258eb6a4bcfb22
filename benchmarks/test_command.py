"""How long a command takes, through a server that syncs every message to disk."""

from __future__ import annotations

import asyncio
import random
import statistics
import time

from measure import quantile

from harness.nats import asynchronous
from harness.operators import operating
from harness.shell import Shell, up
from harness.trainers import training
from weavelet.client import Client
from weavelet.messages import Set

TRAINER = """
import json, time
import weavelet

lr = {"value": 0.0}

with weavelet.session("trainer-0") as w:
    @w.handler("lr", get=lambda: lr["value"])
    def set_lr(value: float) -> None:
        lr["value"] = value
        print(json.dumps({"ran": time.monotonic(), "value": value}), flush=True)

    step = 0
    while True:
        w.poll(step)
        step += 1
        time.sleep(0.001)
"""


@asynchronous
async def test_publish_to_handler(figures, nats, tmp_path):
    """From before the entry is published to inside the handler of a trainer polling at 1 kHz."""
    names = {
        "WEAVELET_NATS_URL": nats.url,
        "WEAVELET_RUN": "train",
        "WEAVELET_JOB": "job-1",
        "WEAVELET_HOME": str(tmp_path),
    }
    there, answered = [], []
    async with operating(nats) as operator:
        with training(TRAINER, **names) as trainer:
            await operator.registered("lr")
            for number in range(1, 301):
                await asyncio.sleep(random.uniform(0.01, 0.05))
                began = time.monotonic()
                outcome = await operator.command(Set({"lr": float(number)}))
                answered.append((time.monotonic() - began) * 1e3)
                assert outcome.kind == "applied", outcome
                there.append((trainer.event("ran")["ran"] - began) * 1e3)
    figures.add("publish -> handler ran, p50", statistics.median(there), "ms", at_most=3)
    figures.add("publish -> handler ran, p99", quantile(there, 0.99), "ms", at_most=15)
    figures.add("publish -> outcome on the bus, p50", statistics.median(answered), "ms")


def test_client_round_trip(figures, tmp_path, monkeypatch):
    """Client.set, through `weavelet up`, to a trainer polling at 1 kHz, and the answer back."""
    shell = Shell(tmp_path)
    answered = []
    with (
        up(shell),
        training(TRAINER, WEAVELET_HOME=str(tmp_path), WEAVELET_RUN="train", WEAVELET_JOB="job-1"),
    ):
        shell.until_listed("train", lambda replica: replica["controls"])
        monkeypatch.setenv("WEAVELET_HOME", str(tmp_path))
        with Client() as client:
            for number in range(1, 201):
                began = time.perf_counter()
                result = client.set("train", {"lr": float(number)})
                answered.append((time.perf_counter() - began) * 1e3)
                assert result.outcomes[0].outcome == "applied", result
    figures.add("Client.set -> answered, p50", statistics.median(answered), "ms", at_most=10)
    figures.add("Client.set -> answered, p99", quantile(answered, 0.99), "ms")

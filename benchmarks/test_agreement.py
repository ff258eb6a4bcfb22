"""What it costs a step to agree over the launcher's store, beside a collective each step."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from harness.trainers import clean_environment

RANKS = 4
ROUNDS = 5
PEER = "broadcast_object_list"
OURS = "agreement"


def test_price_of_agreement(figures):
    """Microseconds in a step on each of four gloo ranks, with steps of 10 ms."""
    pytest.importorskip("torch")
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, None, True, timedelta(seconds=60), wait_for_workers=False)
    script = [sys.executable, Path(__file__).with_name("agreeing.py"), str(store.port)]
    processes = [
        subprocess.Popen(
            [*script, str(rank), str(RANKS), str(ROUNDS)],
            env=clean_environment(),
            stdout=subprocess.PIPE,
        )
        for rank in range(RANKS)
    ]
    try:
        output, *_ = [process.communicate(timeout=500)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    prices = json.loads(output)
    for name, price in prices.items():
        figures.add(f"{name}, 4 gloo ranks", price, "us a step")
    share = prices[OURS] / prices[PEER]
    figures.add(f"{OURS} / {PEER}", share, "x", at_most=1 / 30, note="aim: 1/50")

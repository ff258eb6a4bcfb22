"""Agreement over the key-value store that torch's launchers give each job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")


from harness.trainers import clean_environment
from weavelet.keystore import TorchStore

HARNESS = Path(__file__).parents[1] / "harness"
RANKS = 4


def run_ranks(store, entries):
    """What each rank of one life printed."""
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                HARNESS / "agreeing.py",
                *map(str, (store.port, rank, RANKS, entries)),
            ],
            env=clean_environment(),
            stdout=subprocess.PIPE,
        )
        for rank in range(RANKS)
    ]
    try:
        outputs = [process.communicate(timeout=90)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [json.loads(output) for output in outputs]


def test_ranks_agree_on_every_step(served):
    """Four processes at their own pace come to 200 outcomes at the same ticks and steps.

    The store is one that holds the keys of a dead life.
    """
    run_ranks(served, 20)
    first, *others = run_ranks(served, 200)
    assert len(first["told"]) == 200
    assert {kind for _, _, kind, _ in first["told"]} == {"applied", "failed", "rejected"}
    for other in others:
        assert other["told"] == first["told"]
        assert other["values"] == first["values"]


def test_a_clone_reads_without_waiting(served):
    """A missing key is None at once, bytes come back as they were, and counters count."""
    store = TorchStore(served.clone())
    assert store.read("missing") is None
    assert store.claim("key", b"\x00\xff") == b"\x00\xff"
    assert store.claim("key", b"other") == b"\x00\xff"
    store.put("key", b"\x93\x01")
    assert store.read("key") == b"\x93\x01"
    assert store.add("count", 1 << 32) + 1 == store.add("count", 1)
    store.delete("key")
    store.delete("never-there")
    assert store.read("key") is None

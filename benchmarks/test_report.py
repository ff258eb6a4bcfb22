"""report() of three numbers, in each state of the sidecar, and beside other reporters."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from measure import quantile

SCRIPT = Path(__file__).with_name("reporting.py")
TURNS = 3
STATES = {
    "weavelet_healthy": "sidecar healthy",
    "weavelet_stopped": "sidecar SIGSTOPped",
    "weavelet_alone": "no sidecar",
}
RHYTHMS = {"steps of 1 ms": (0.001, 1500), "call after call": (0.0, 30_000)}
PEERS = {"trackio": 2000, "tensorboard": 2000, "wandb": 1000, "mlflow": 50}


def microseconds(name, rhythm, calls, environment):
    """Of every call, in a process of its own."""
    command = [sys.executable, str(SCRIPT), name, str(rhythm), str(calls)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [nanoseconds / 1000 for nanoseconds in json.loads(done.stdout)]


@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_report_in_every_state(figures, environment, rhythm):
    """The states take turns; what is shown is over all turns of each."""
    seconds, calls = RHYTHMS[rhythm]
    taken = {name: [] for name in (*STATES, "nothing")}
    for _ in range(TURNS):
        for name, values in taken.items():
            values.extend(microseconds(name, seconds, calls, environment))
    for name, state in STATES.items():
        values = taken[name]
        what = f"report, {state}, {rhythm}"
        figures.add(f"{what}, p50", quantile(values, 0.5), "us", at_most=3)
        figures.add(f"{what}, p99.9", quantile(values, 0.999), "us", at_most=50)
        figures.add(f"{what}, max", max(values), "us")
    floor = quantile(taken["nothing"], 0.999)
    figures.add(f"a call of nothing, {rhythm}, p99.9", floor, "us", note="the machine's own noise")


@pytest.mark.parametrize("rhythm", RHYTHMS)
def test_report_beside_peers(figures, environment, rhythm):
    """Those that are installed, in turns with ours, each as its documentation shows it."""
    peers = {name: calls for name, calls in PEERS.items() if importlib.util.find_spec(name)}
    if not peers:
        pytest.skip("none of these is installed: " + ", ".join(PEERS))
    seconds, _ = RHYTHMS[rhythm]
    taken = {name: [] for name in ("weavelet_healthy", *peers)}
    for _ in range(TURNS):
        for name, values in taken.items():
            values.extend(microseconds(name, seconds, peers.get(name, 2000), environment))
    for name, values in taken.items():
        for share, word in ((0.5, "p50"), (0.999, "p99.9")):
            figures.add(
                f"{name.removesuffix('_healthy')}, {rhythm}, {word}",
                quantile(values, share),
                "us",
                note="beside peers",
            )

"""What poll and report take from a training step."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

STEPS = {0.001: 3000, 0.01: 400, 0.1: 60}


@pytest.mark.parametrize("seconds", STEPS)
def test_share_of_a_step(figures, environment, looping, seconds):
    """A loop whose steps take turns: plain, with poll and report, and plain again."""
    command = [sys.executable, str(looping), str(seconds), str(STEPS[seconds])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    block = max(4, round(0.1 / seconds))
    plain, steered, again, calls = (
        _typical(result[name], block) for name in ("plain", "steered", "again", "calls")
    )
    what = f"{seconds * 1e3:g} ms"
    figures.add(
        f"(poll + report) of a step of {what}, timed by themselves",
        calls / plain * 100,
        "%",
        at_most=0.5,
        note="sendings included",
    )
    figures.add(f"steps of {what}, with against without", (steered / plain - 1) * 100, "%")
    figures.add(f"steps of {what}, A against A", (again / plain - 1) * 100, "%")


def _typical(values, block):
    """Mean price over blocks that hold a sending at least, and of those the median: what other
    programs take from one block is not ours.
    """
    starts = range(0, len(values) - block + 1, block)
    return statistics.median(statistics.mean(values[at : at + block]) for at in starts)

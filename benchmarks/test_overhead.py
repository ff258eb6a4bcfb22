"""What poll and report take from a training step."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest

STEPS = (0.001, 0.01, 0.1)
SECONDS = 20


@pytest.mark.parametrize("seconds", STEPS)
def test_share_of_a_step(figures, environment, looping, seconds):
    """A loop whose steps take turns in blocks: plain, with poll and report, and plain again."""
    command = [sys.executable, str(looping), str(seconds), str(SECONDS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    # Of blocks the median: what other programs take from one of them is not ours.
    plain, steered, again, calls = (
        statistics.median(result[name]) for name in ("plain", "steered", "again", "calls")
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

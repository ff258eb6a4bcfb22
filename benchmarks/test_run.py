"""What `weavelet run` takes from a step of a script that knows nothing of it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 30


def test_share_of_a_step(figures, environment):
    """A training in blocks: steered by torch's hooks, and without; medians of steps."""
    pytest.importorskip("torch")
    script = Path(__file__).with_name("untouched.py")
    command = [sys.executable, str(script), str(SECONDS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)
    plain, steered, again = (
        statistics.median(steps[name]) for name in ("plain", "steered", "again")
    )
    floor = statistics.median(steps["plain"] + steps["again"])
    figures.add("a step by torch alone", plain * 1e3, "ms")
    figures.add("`weavelet run` of that step", (steered / floor - 1) * 100, "%", at_most=2)
    figures.add("the same step, A against A", (again / plain - 1) * 100, "%")

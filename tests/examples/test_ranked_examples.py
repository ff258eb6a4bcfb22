"""The examples of several ranks run under torchrun, and can be steered there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from harness.jobs import operating

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """A weaver, and jobs on it."""
    with operating(tmp_path_factory.mktemp("examples")) as jobs:
        yield jobs


def is_done_everywhere(result):
    return result.ok and len({outcome.step for outcome in result.outcomes}) == 1


def printed(job, pattern):
    """What all ranks printed, as the groups of a pattern."""
    return re.findall(pattern, (job.folder / "output.txt").read_text())


def test_06_sets_all_ranks_at_once(jobs):
    """A change is printed with the same step by each of four ranks; they end up the same."""
    endless = ("--steps", 10_000_000)
    with jobs.start(*endless, script=EXAMPLES / "06_ddp.py", run="06_ddp") as job:
        job.until_training(controls=2)
        result = job.set(values={"lr": 0.02, "momentum": 0.9})
        assert is_done_everywhere(result), result
        assert is_done_everywhere(job.stop())
        job.wait()
    changes = printed(job, r"rank (\d), step (\d+): lr 0.1 -> 0.02")
    step = str(result.outcomes[0].step)
    assert sorted(changes) == [(str(rank), step) for rank in range(4)]
    ends = printed(job, r"rank \d: parameters (\w+)")
    assert len(ends) == 4
    assert len(set(ends)) == 1


def test_07_steers_parameters_that_are_spread_over_ranks(jobs):
    """With FSDP a change comes at one step, and an action that needs all ranks has its result."""
    endless = ("--steps", 10_000_000)
    with jobs.start(*endless, script=EXAMPLES / "07_fsdp.py", run="07_fsdp", ranks=2) as job:
        job.until_training(controls=2)
        assert is_done_everywhere(job.set(values={"lr": 0.02}))
        norm = job.act("norm")
        assert is_done_everywhere(norm)
        first, second = (outcome.result for outcome in norm.outcomes)
        assert first == second > 0
        assert is_done_everywhere(job.stop())
        job.wait()
    ends = printed(job, r"rank \d: norm ([\d.]+)")
    assert len(ends) == 2
    assert len(set(ends)) == 1


def test_13_changes_the_distance_between_averages(jobs):
    """Both ranks change it at one step, go on averaging together, and stop at one step."""
    script, run = EXAMPLES / "13_local_sgd.py", "13_local_sgd"
    with jobs.start("--steps", 10_000_000, script=script, run=run, ranks=2) as job:
        job.until_training(controls=2)
        assert is_done_everywhere(job.set(values={"sync_every": 3, "lr": 0.05}))
        assert is_done_everywhere(job.stop())
        job.wait()
    ends = printed(job, r"rank (\d): accuracy (\S+), (\d+) averages")
    assert sorted(rank for rank, _, _ in ends) == ["0", "1"]
    assert len({(accuracy, averages) for _, accuracy, averages in ends}) == 1

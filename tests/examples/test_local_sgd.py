"""Example 13: a setting that all ranks must change at the same step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.shell import Shell, up
from harness.trainers import training

EXAMPLE = Path(__file__).parents[2] / "examples" / "13_local_sgd.py"
RANKS = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_the_distance_between_averages_changes_live(tmp_path):
    """Both ranks change it at one step, go on averaging together, and stop at one step."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    shell = Shell(tmp_path / "home")
    log = tmp_path / "log"
    arguments = ("--log-dir", str(log), "--redirects", "3")
    environment = {"WEAVELET_HOME": str(shell.home), "OMP_NUM_THREADS": "1"}
    with (
        up(shell),
        training(
            EXAMPLE, "--steps", "100000000", python=(*RANKS, *arguments), **environment
        ) as trainer,
    ):
        for rank in ("rank-0", "rank-1"):
            shell.until_listed(
                "13_local_sgd",
                lambda replica, rank=rank: replica["replica"] == rank and replica["controls"],
            )
        code, said = shell.json("set", "13_local_sgd", "sync_every=3", "lr=0.05")
        assert code == 0, said
        assert [outcome["replica"] for outcome in said["outcomes"]] == ["rank-0", "rank-1"]
        assert len({outcome["step"] for outcome in said["outcomes"]}) == 1
        code, said = shell.json("stop", "13_local_sgd")
        assert code == 0, said
        assert trainer.wait() == 0, trainer.errors
    printed = "".join(file.read_text() for file in log.rglob("stdout.log"))
    ends = re.findall(r"rank (\d): accuracy (\S+), (\d+) averages", printed)
    assert sorted(rank for rank, _, _ in ends) == ["0", "1"], printed
    assert len({(accuracy, averages) for _, accuracy, averages in ends}) == 1

"""Ranks that hold different settings, as the command line shows it."""

from __future__ import annotations

import pytest

from harness.faults import holds
from harness.shell import Shell, up
from harness.trainers import LOOP, training

RANK = (
    LOOP
    + '\nwith weavelet.session(run="ranks", agreement="off") as w:\n    declare(w)\n    train(w)\n'
)


@pytest.fixture
def shell(tmp_path):
    """A shell whose home is the test's own."""
    return Shell(tmp_path / "home")


def rank(shell, number):
    """One of two ranks, which apply commands each for itself."""
    return training(
        RANK,
        WEAVELET_HOME=str(shell.home),
        WEAVELET_JOB="j1",
        RANK=str(number),
        LOCAL_RANK=str(number),
        WORLD_SIZE="2",
        LOCAL_WORLD_SIZE="2",
    )


def test_show_says_which_rank_holds_other_settings(shell):
    """A value that was set on one rank alone is an alarm until the other one has it, too."""
    with up(shell), rank(shell, 0), rank(shell, 1):
        shell.until_listed("ranks", lambda replica: replica["replica"] == "rank-1")
        assert shell("set", "ranks", "lr=0.5", "--replica", "rank-1").returncode == 0

        def says(words):
            said = shell("show", "ranks").stdout
            assert words in said, said

        holds(lambda: "DIVERGED" in shell("show", "ranks").stdout, 30, "an alarm")
        says("DIVERGED: rank-1 holds other settings than rank-0: lr")
        assert shell("set", "ranks", "lr=0.5", "--replica", "rank-0").returncode == 0
        holds(lambda: "DIVERGED" not in shell("show", "ranks").stdout, 30, "no alarm")

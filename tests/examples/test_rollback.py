"""Example 16: back to a checkpoint in place, and a branch from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.shell import Shell, up
from harness.trainers import training

EXAMPLE = Path(__file__).parents[2] / "examples" / "16_rollback.py"
RUN = "16_rollback"
FOREVER = ("--steps", "100000000")


def test_16_goes_back_and_branches(tmp_path):
    """The checkpoint's rate is back without a restart; a branch begins at its step, beside it."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    shell = Shell(tmp_path / "home")
    home = {"WEAVELET_HOME": str(shell.home)}
    good = tmp_path / "good.pt"
    with up(shell), training(EXAMPLE, *FOREVER, **home) as trainer:
        shell.until_listed(RUN, lambda row: row["controls"] and (row["step"] or 0) > 20)
        code, said = shell.json("act", RUN, "save", f"path={good}")
        saved = said["outcomes"][0]
        assert code == 0
        assert saved["result"] == f"{good} at step {saved['step']}"
        assert shell("set", RUN, "lr=0.9").returncode == 0
        code, said = shell.json("act", RUN, "rollback", f"path={good}", "--yes")
        back = said["outcomes"][0]
        assert code == 0
        assert back["result"] == f"back to step {saved['step']}"
        assert back["step"] > saved["step"]
        shell.until_listed(RUN, lambda row: value(row, "lr") == row["metrics"]["lr"] == 0.1)
        with training(EXAMPLE, *FOREVER, "--run", "bolder", "--branch", good, **home) as branch:
            row = shell.until_listed("bolder", lambda row: row["controls"] and row["step"])
            assert saved["step"] <= row["step"]
            assert shell("set", "bolder", "lr=0.5").returncode == 0
            shell.until_listed("bolder", lambda row: row["metrics"].get("lr") == 0.5)
            shell.until_listed(RUN, lambda row: row["metrics"].get("lr") == 0.1)
            assert shell("stop", "bolder").returncode == 0
            assert branch.wait() == 0
        assert shell("stop", RUN).returncode == 0
        assert trainer.wait() == 0
        code, said = shell.json("log", RUN)
    kinds = [(one["entry"]["kind"], one["state"]) for one in said["entries"]]
    assert kinds[-4:] == [
        ("act", "applied"),
        ("set", "applied"),
        ("act", "applied"),
        ("stop", "applied"),
    ]


def value(row, name):
    """What a control is now."""
    return next((one.get("value") for one in row["controls"] if one["name"] == name), None)

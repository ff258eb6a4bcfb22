"""Every example runs, and does what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.shell import Shell, up
from harness.trainers import clean_environment, training

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *arguments):
    """The finished process of an example, without any server."""
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        env={**clean_environment(), "WEAVELET_HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_01_shows_each_kind_of_answer():
    """Handlers without any server: one change applied, two refusals, one result."""
    done = run("01_handlers.py")
    assert done.stdout.splitlines() == [
        "step 0: lr 0.1 -> 0.01",
        "applied ",
        "rejected lr: expected float > 0 and <= 1, got 'banana'",
        "rejected schedule: expected one of 'cosine', 'linear', got 'triangle'",
        "applied {'lr': '0.010'}",
    ]
    assert done.returncode == 0


def test_03_trains_like_02():
    """With weavelet and without a server the training is the same to the last digit."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    plain = run("02_plain_training.py", "--steps", "200")
    steered = run("03_steered_training.py", "--steps", "200")
    assert plain.returncode == steered.returncode == 0
    assert "accuracy" in plain.stdout
    assert steered.stdout == plain.stdout


def test_03_can_be_steered(tmp_path):
    """A learning rate set from the shell is the one that the script prints from then on."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    shell = Shell(tmp_path / "home")
    path = EXAMPLES / "03_steered_training.py"
    with (
        up(shell),
        training(path, "--steps", "100000000", WEAVELET_HOME=str(shell.home)) as trainer,
    ):
        shell.until_listed("03_steered_training", lambda replica: replica["controls"])
        code, said = shell.json("set", "03_steered_training", "lr=0.01")
        assert code == 0
        shell.until_listed(
            "03_steered_training",
            lambda replica: (
                replica["metrics"].get("lr") == 0.01
                and replica["step"] > said["outcomes"][0]["step"]
            ),
        )
        assert shell("stop", "03_steered_training").returncode == 0
        assert trainer.wait() == 0


def test_04_actions_return_results(tmp_path):
    """`evaluate` returns an accuracy, `checkpoint` writes the file that it names."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    shell = Shell(tmp_path / "home")
    target = tmp_path / "digits.pt"
    path = EXAMPLES / "04_action.py"
    with up(shell), training(path, "--steps", "100000000", WEAVELET_HOME=str(shell.home)):
        shell.until_listed("04_action", lambda replica: len(replica["controls"]) == 2)
        code, said = shell.json("act", "04_action", "evaluate")
        assert code == 0
        assert 0 <= said["outcomes"][0]["result"]["accuracy"] <= 1
        code, said = shell.json("act", "04_action", "checkpoint", f"path={target}")
        assert code == 0
        assert said["outcomes"][0]["result"] == str(target)
    assert set(torch.load(target)) == {"0.weight", "0.bias", "2.weight", "2.bias"}

"""The examples of Accelerate and the Hugging Face Trainer can be steered, and go on."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.faults import holds
from harness.shell import Shell, up

pytest.importorskip("sklearn")

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A shell with a running `weavelet up`."""
    shell = Shell(tmp_path_factory.mktemp("weaver") / "home")
    shell.environment.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
    with up(shell):
        yield shell


@contextmanager
def running(shell, name, *arguments):
    """The process of an example; what it prints is read at its end."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / f"{name}.py", *map(str, arguments)],
        env=shell.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        shell.until_listed(
            name,
            lambda row: row["state"] == "running" and row["step"] and row["pid"] == process.pid,
            seconds=120,
        )
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def told(shell, *arguments):
    """The one outcome of a verb, which must have done it."""
    code, said = shell.json(*arguments)
    assert code == 0, said
    (outcome,) = said["outcomes"]
    return outcome


def test_09_is_steered_and_resumed(shell, tmp_path):
    """A factor beside the schedule, a checkpoint, a stop; what was set holds after resuming."""
    pytest.importorskip("accelerate")
    name = "09_accelerate"
    with running(shell, name, "--epochs", 10**6, "--folder", tmp_path) as process:
        told(shell, "set", name, "lr_scale=0.5")
        saved = told(shell, "act", name, "checkpoint")
        assert saved["result"] == str(tmp_path / f"step-{saved['step']}")
        stop = told(shell, "stop", name)
        printed = process.communicate(timeout=60)[0]
    assert printed.startswith(f"{stop['step']} steps, lr 0.0")
    assert printed.endswith("stopped True\n")
    with running(shell, name, "--epochs", 10**6, "--resume", saved["result"]) as process:
        change = told(shell, "set", name, "lr_scale=0.25")["changes"][0]
        assert change["old"] == 0.5
        told(shell, "stop", name)
        assert f"resumed at step {saved['step']}\n" in process.communicate(timeout=60)[0]


def test_10_is_steered_and_resumed(shell, tmp_path):
    """A control of the script, an evaluation, a checkpoint, a stop; then the Trainer goes on."""
    pytest.importorskip("transformers")
    name = "10_hf_trainer"
    with running(shell, name, "--steps", 10**6, "--folder", tmp_path) as process:
        told(shell, "set", name, "dropout=0.5", "lr_scale=0.5")
        told(shell, "act", name, "evaluate")
        shell.until_listed(name, lambda row: "eval_loss" in row["metrics"])
        saved = told(shell, "act", name, "checkpoint")
        assert saved["result"] == str(tmp_path / f"checkpoint-{saved['step']}")
        holds((Path(saved["result"]) / "trainer_state.json").is_file, 60)
        stop = told(shell, "stop", name)
        assert f"{stop['step']} steps, dropout 0.5\n" in process.communicate(timeout=60)[0]
    with running(shell, name, "--steps", 10**6, "--folder", tmp_path, "--resume"):
        changes = told(shell, "set", name, "dropout=0.2", "lr_scale=1")["changes"]
        assert [change["old"] for change in changes] == [0.5, 0.5]
        told(shell, "stop", name)

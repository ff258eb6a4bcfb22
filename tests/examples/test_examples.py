"""Every example runs, and does what it says."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.shell import WEAVELET, Shell, up
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
                and (replica["step"] or 0) > said["outcomes"][0]["step"]
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


SETS = (
    ("lr=0.05",),
    ("momentum=0.9", "lr=0.01"),
    ("batch_size=32",),
    ("lr=0.2",),
    ("momentum=0",),
    ("batch_size=100", "lr=0.05", "momentum=0.5"),
    ("lr=0.03",),
    ("lr=0.02",),
    ("batch_size=7",),
    ("lr=0.015", "momentum=0.8"),
)

PAGE = """\
# Controls of 05_record_and_replay

| Control | Type | Unit | Value | What it is |
| --- | --- | --- | --- | --- |
| `lr` | a number > 0 and <= 1 |  | `0.015` | Learning rate. |
| `momentum` | a number >= 0 and < 1 |  | `0.8` | Momentum of SGD. |
| `batch_size` | an integer >= 1 and <= 1024 | images | `7` | Images a step. \
**Dangerous:** asks before it is done. |
"""


def test_05_replays_ten_changes_bit_for_bit(tmp_path):
    """Ten changes by hand, recorded; without a server they come at the same steps: same bits."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    name, record = "05_record_and_replay", tmp_path / "steered.jsonl"
    shell = Shell(tmp_path / "home")
    with up(shell), printing(f"{name}.py", "--steps", "100000000", shell=shell) as trainer:
        shell.until_listed(name, lambda replica: len(replica["controls"]) == 3)
        for pairs in SETS:
            assert shell("set", name, *pairs, "--yes").returncode == 0
        page = shell("docs", name)
        assert shell("stop", name).returncode == 0
        steered = trainer.communicate(timeout=60)[0].splitlines()
        exported = shell("export", name, "--output", str(record))
    assert page.stdout == PAGE
    assert exported.returncode == 0, exported.stderr
    assert len(record.read_text().splitlines()) == len(SETS)
    assert len(steered) == sum(map(len, SETS)) + 1
    steps = steered[-1].split()[0]
    replayed = run(f"{name}.py", "--steps", steps, "--replay", str(record))
    assert replayed.stdout.splitlines() == steered
    assert replayed.stderr == ""
    untouched = run(f"{name}.py", "--steps", steps)
    assert untouched.stdout.splitlines()[-1] != steered[-1]


def test_12_a_rule_pauses_what_has_gone_wrong(tmp_path):
    """A real training whose loss runs away is held, and the log says which rule did it."""
    shell = Shell(tmp_path / "home")
    path = EXAMPLES / "12_rules.py"
    with (
        up(shell, "--rules", str(path)),
        training(path, "train", WEAVELET_HOME=str(shell.home)),
    ):
        shell.until_listed("12_rules", lambda replica: replica["state"] == "paused")
        code, said = shell.json("log", "12_rules")
    assert code == 0
    (pause,) = [one for one in said["entries"] if one["entry"]["kind"] == "pause"]
    assert pause["entry"]["author"] == "rule:pause_on_bad_loss"


@contextmanager
def printing(name, *arguments, shell):
    """The process of an example that looks for its server in the shell's home."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / name, *arguments],
        env=shell.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_11_is_steered_untouched(tmp_path):
    """A script without a line of weavelet, under `weavelet run`: a rate set live, and a stop."""
    pytest.importorskip("torch")
    text = (EXAMPLES / "11_untouched.py").read_text()
    assert "import weavelet" not in text
    shell = Shell(tmp_path / "home")
    command = [WEAVELET, "run", "--", sys.executable, EXAMPLES / "11_untouched.py"]
    with up(shell):
        process = subprocess.Popen(
            [*command, "--steps", "100000000"],
            env=shell.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            shell.until_listed("11_untouched", lambda replica: replica["controls"])
            assert shell("set", "11_untouched", "lr=0.01").returncode == 0
            shell.until_listed(
                "11_untouched", lambda replica: abs(replica["metrics"].get("lr", 1) - 0.01) < 1e-3
            )
            assert shell("stop", "11_untouched").returncode == 0
            assert process.communicate(timeout=60)[1] == ""
            assert process.returncode == 0
        finally:
            process.kill()
            process.communicate()


def test_11_trains_the_same_with_and_without():
    """Its output and exit code under `weavelet run` are those without it."""
    pytest.importorskip("torch")
    name = "11_untouched.py"
    plain = run(name, "--steps", "1500")
    steered = subprocess.run(
        [WEAVELET, "run", "--", sys.executable, EXAMPLES / name, "--steps", "1500"],
        env={**clean_environment(), "WEAVELET_HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert plain.returncode == steered.returncode == 0
    assert steered.stdout == plain.stdout
    assert steered.stderr == plain.stderr

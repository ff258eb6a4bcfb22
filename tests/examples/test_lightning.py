"""Example 08: a Lightning module that is steered."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.shell import Shell, up
from harness.trainers import training

EXAMPLE = Path(__file__).parents[2] / "examples" / "08_lightning.py"
RUN = "08_lightning"


def test_08_is_steered_by_lightnings_trainer(tmp_path):
    """Two controls set at once, a checkpoint that holds them, and a stop with exit code 0."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("lightning")
    pytest.importorskip("sklearn")
    shell = Shell(tmp_path / "home")
    environment = {"WEAVELET_HOME": str(shell.home), "WEAVELET_REPLICA": "trainer-0"}
    with (
        up(shell),
        training(EXAMPLE, "--steps", "100000000", cwd=tmp_path, **environment) as trainer,
    ):
        shell.until_listed(RUN, lambda replica: len(replica["controls"]) > 3, seconds=90)
        code, said = shell.json("set", RUN, "lr=0.02", "dropout=0.3")
        assert code == 0, said
        code, saved = shell.json("act", RUN, "checkpoint")
        assert code == 0, saved
        shell.until_listed(RUN, lambda replica: "accuracy" in replica["metrics"], seconds=90)
        assert shell("stop", RUN).returncode == 0
        assert trainer.wait(60) == 0, trainer.errors
    state = torch.load(tmp_path / saved["outcomes"][0]["result"], weights_only=True)
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] == 0.02
    assert state["callbacks"]["WeaveletCallback"]["values"]["dropout"] == 0.3

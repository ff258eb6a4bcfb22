"""Example 14: replicas of one job that are steered one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.shell import Shell, up
from harness.trainers import training

EXAMPLE = Path(__file__).parents[2] / "examples" / "14_federated.py"
RUN = "14_federated"


def test_one_client_is_steered_and_the_others_go_on(tmp_path):
    """A rate set for one client is that one's alone; while one is held, another trains on."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    shell = Shell(tmp_path / "home")
    environment = {"WEAVELET_HOME": str(shell.home), "PYTHONUNBUFFERED": "1"}
    with (
        up(shell),
        training(
            EXAMPLE, "--rounds", "100000000", "--clients", "2", stdin=True, **environment
        ) as trainer,
    ):
        for client in ("client-0", "client-1"):
            listed(shell, client, lambda replica: replica["controls"])
        code, said = shell.json("set", RUN, "lr=0.01", "--replica", "client-1")
        assert code == 0, said
        assert [outcome["replica"] for outcome in said["outcomes"]] == ["client-1"]
        code, said = shell.json("pause", RUN, "--replica", "client-1")
        assert code == 0, said
        before = listed(shell, "client-0", lambda replica: replica["step"])["step"]
        listed(shell, "client-0", lambda replica: replica["step"] > before + 100)
        held = listed(shell, "client-1", lambda replica: True)
        assert held["state"] == "paused"
        assert held["step"] == said["outcomes"][0]["step"]
        assert shell("stop", RUN).returncode == 0
        assert trainer.wait() == 0, trainer.errors


def listed(shell, client, condition):
    """The row of one client, once it fits."""
    return shell.until_listed(
        RUN, lambda replica: replica["replica"] == client and condition(replica)
    )

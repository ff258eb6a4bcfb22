"""The server's store: full, wiped, replaced."""

from __future__ import annotations

import shutil
import time

import pytest

from harness.faults import fill, small_filesystem
from harness.stage import insist, staged, weaving
from harness.trainers import PLAIN, training
from harness.watching import watching
from weavelet.exceptions import CommandError


def test_a_full_store_refuses_commands_and_forgets_none(tmp_path):
    """They are unavailable, with the reason, while there is no space, and taken once there is."""
    with (
        small_filesystem(tmp_path / "store", 48) as store,
        weaving(tmp_path / "home", "--store", store) as weaver,
        training(PLAIN, **names(weaver)) as trainer,
        watching(weaver) as watcher,
        weaver.client() as client,
    ):
        watcher.until(lambda row: row.state == "running" and row.controls)
        assert client.set("train", {"lr": 0.2}).state == "applied"
        filling = fill(store)
        refused = refusal(client)
        assert refused.code == "unavailable"
        assert f"the disk that holds {store}" in str(refused)
        assert "Training goes on" in str(refused)
        _, row = watcher.state("running", since=time.monotonic())
        filling.unlink()
        applied = insist(client, "train", {"lr": 0.9})
        assert [applied.state, applied.outcomes[0].changes[0].new] == ["applied", 0.9]
        assert applied.outcomes[0].step > row.step
        log = client.log("train", "job-1")
        changes = [trainer.event("change")["new"] for _ in log[1:]]
    assert {entry.state for entry in log} == {"applied"}
    assert changes == [entry.entry.body["values"]["lr"] for entry in log[1:]]


def names(weaver):
    return {
        "WEAVELET_RUN": "train",
        "WEAVELET_JOB": "job-1",
        "WEAVELET_NATS_URL": weaver.endpoint.nats_url,
    }


def refusal(client):
    """The error for the first command that finds no space; a file's last block may have some."""
    for _ in range(1000):
        try:
            client.set("train", {"lr": 0.2})
        except CommandError as error:
            if "the disk" in str(error):
                return error
    raise AssertionError("a full store went on taking commands")


@pytest.mark.parametrize("weaver_too", [False, True])
def test_a_wiped_store_begins_a_new_log(tmp_path, weaver_too):
    """Server killed, store deleted: values stay, the log is new, and commands are applied again."""
    with (
        staged(tmp_path) as stage,
        training(PLAIN, **stage.names("train", "job-1")) as trainer,
        watching(stage) as watcher,
        stage.client() as client,
    ):
        watcher.until(lambda row: row.state == "running" and row.controls)
        for value in (0.2, 0.3, 0.4):
            assert client.set("train", {"lr": value}).state == "applied"
        stage.kill_nats()
        if weaver_too:
            stage.weaver.kill()
        shutil.rmtree(stage.store / "store")
        stage.start_nats()
        if weaver_too:
            stage.weaver.start()
        wiped = time.monotonic()
        watcher.until(lambda row: row.state == "running" and row.controls, since=wiped)
        result = insist(client, "train", {"lr": 0.9})
        changes = [trainer.event("change") for _ in range(4)]
        log = client.log("train", "job-1")
        assert "Traceback" not in trainer.errors
    assert [change["new"] for change in changes] == [0.2, 0.3, 0.4, 0.9]
    assert changes[-1]["old"] == result.outcomes[0].changes[0].old == 0.4
    assert [entry.entry.kind for entry in log] == ["begin", "set"]

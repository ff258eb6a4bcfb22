"""session(replay=FILE): what a record says happens again, at the same steps, without a server."""

from __future__ import annotations

import logging
import math

import msgspec
import pytest

import weavelet
from weavelet.messages import RecordedAct, RecordedChange, RecordedSet
from weavelet.session import session


class Trainer:
    """A replaying session with two controls and an action."""

    def __init__(self, path, **arguments):
        arguments = {"run": "train", "replica_id": "rank-0", **arguments}
        self.w = session(replay=path, **arguments)
        self.now = {"lr": 0.1, "name": "a"}
        self.saved = []
        w, now = self.w, self.now

        @w.handler("lr", get=lambda: now["lr"])
        def set_lr(value: float) -> None:
            if value == 13:
                raise ValueError("unlucky")
            now["lr"] = value

        @w.handler("name", get=lambda: now["name"])
        def set_name(value: str) -> None:
            now["name"] = value

        @w.action("save")
        def save(path: str, times: int = 1) -> str:
            self.saved.append((path, times))
            return path

    def train(self, steps):
        """(step, name, old, new) of each change that poll returned."""
        with self.w as w:
            return [
                (step, change.name, change.old, change.new)
                for step in steps
                for change in w.poll(step)
            ]


class Record:
    """Writes the lines of an export."""

    def __init__(self, path):
        self.path = path
        self.lines = []

    def set(self, step, values, changes=(), **more):
        more["changes"] = tuple(RecordedChange(*change) for change in changes)
        return self._add(RecordedSet, step, values=values, **more)

    def act(self, step, action, **arguments):
        return self._add(RecordedAct, step, action=action, arguments=arguments)

    def _add(self, kind, step, **more):
        number = len(self.lines) + 1
        fields = {
            "version": 1, "run": "train", "job": "j1", "replica": "rank-0", "incarnation": "a" * 16,
            "sequence": number, "entry": f"e{number}", "author": "ann", "time": 0.0, "step": step,
        }  # fmt: skip
        self.lines.append(msgspec.json.encode(kind(**{**fields, **more})))
        self.path.write_bytes(b"\n".join(self.lines) + b"\n")
        return self


@pytest.fixture
def record(tmp_path):
    """An empty record."""
    made = Record(tmp_path / "record.jsonl")
    made.path.touch()
    return made


def warnings(caplog):
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_the_same_changes_come_at_the_same_steps(record, caplog):
    """Sets and actions are applied at the recorded steps, and nothing is complained of."""
    record.set(2, {"lr": 0.5}, [("lr", 0.1, 0.5)])
    record.set(4, {"lr": 0.2, "name": "b"}, [("lr", 0.5, 0.2), ("name", "a", "b")])
    record.act(4, "save", path="x", times=3)
    trainer = Trainer(record.path)
    assert trainer.train(range(6)) == [
        (2, "lr", 0.1, 0.5),
        (4, "lr", 0.5, 0.2),
        (4, "name", "a", "b"),
    ]
    assert trainer.saved == [("x", 3)]
    assert warnings(caplog) == []


def test_no_process_is_started(record):
    """A replay needs nothing but the file."""
    trainer = Trainer(record.set(1, {"lr": 0.5}, [("lr", 0.1, 0.5)]).path)
    with trainer.w as w:
        w.poll(0)
        w.report(0, loss=1.0)
        assert w.sidecar_pid is None
        w.poll(1)


def test_after_the_last_change_poll_is_idle_again(record):
    """What waits for a step makes each poll look; then none does."""
    trainer = Trainer(record.set(3, {"lr": 0.5}, [("lr", 0.1, 0.5)]).path)
    with trainer.w as w:
        looks = []
        for step in range(8):
            w.poll(step)
            looks.append(w._page.words[w._page.LOOKS])
    assert looks[:4] == [1, 2, 3, 4]
    assert looks[-3] == looks[-1]


def test_a_session_without_replay_looks_no_more_often():
    """Replaying costs those who do not replay nothing: after the first poll, none looks."""
    from weavelet.testing import local_session

    with local_session() as w:
        for step in range(6):
            w.poll(step)
        assert w._page.words[w._page.LOOKS] == 1


def test_another_old_value_is_warned_of_and_applied_all_the_same(record, caplog):
    """One warning names step, control and both values; training goes on."""
    trainer = Trainer(record.set(2, {"lr": 0.5}, [("lr", 0.3, 0.5)]).path)
    assert trainer.train(range(4)) == [(2, "lr", 0.1, 0.5)]
    (said,) = warnings(caplog)
    assert "step 2" in said
    assert "lr 0.1 -> 0.5 now, 0.3 -> 0.5 then" in said


def test_what_cannot_be_applied_now_is_said(record, caplog):
    """A control that is gone, a value that no longer fits, a handler that raises: each is told."""
    record.set(1, {"gone": 1}, [("gone", 0, 1)])
    record.set(2, {"lr": "x", "name": "b"}, [("lr", 0.1, 1)])
    record.set(3, {"lr": 13}, [("lr", 0.1, 13)])
    record.set(4, {"lr": 0.5}, [("lr", 0.1, 0.5)])
    trainer = Trainer(record.path)
    assert trainer.train(range(6)) == [(4, "lr", 0.1, 0.5)]
    assert trainer.now == {"lr": 0.5, "name": "a"}
    first, second, third = warnings(caplog)
    assert "set gone=1 was applied then, but rejected now: gone: unknown control" in first
    assert "step 2" in second
    assert "rejected" in second
    assert "failed now: lr: ValueError: unlucky" in third


def test_what_was_never_reached_is_said_at_the_end(record, caplog):
    """A shorter replay names what it left out."""
    record.set(2, {"lr": 0.5}, [("lr", 0.1, 0.5)])
    record.set(40, {"lr": 0.6}).act(50, "save", path="x")
    Trainer(record.path).train(range(6))
    (said,) = warnings(caplog)
    assert "ended before step 40: set lr=0.6; step 50: act save" in said


def test_what_lies_before_the_first_step_is_said(record, caplog):
    """Resumed from a checkpoint, a replay leaves out what that holds already."""
    record.set(2, {"lr": 0.5}).set(7, {"lr": 0.6}, [("lr", 0.1, 0.6)])
    assert Trainer(record.path).train(range(5, 9)) == [(7, "lr", 0.1, 0.6)]
    (said,) = warnings(caplog)
    assert "begins at step 5, without step 2: set lr=0.5" in said


def test_a_step_that_is_never_polled_is_said(record, caplog):
    """A loop that polls other steps is not the one that was recorded."""
    record.set(3, {"lr": 0.5})
    assert Trainer(record.path).train([0, 2, 4]) == []
    (said,) = warnings(caplog)
    assert "step 4 came, without step 3: set lr=0.5" in said


def test_what_was_adopted_is_adopted(record, caplog):
    """The record of a late replica: several Sets at once, with the changes of the last."""
    late = {"adopted": True}
    record.set(1, {"lr": 0.5, "name": "b"}, **late)
    record.set(1, {"lr": 0.6}, [("lr", 0.1, 0.6), ("name", "a", "b")], **late)
    trainer = Trainer(record.path)
    assert trainer.train(range(3)) == [(1, "lr", 0.1, 0.6), (1, "name", "a", "b")]
    assert warnings(caplog) == []


def test_non_finite_and_odd_values_come_back_as_they_were(record, caplog):
    """NaN for a number, "NaN" for a text, 17 digits, and a name of any alphabet."""
    record.set(1, {"lr": "NaN", "name": "NaN"}, [("lr", 0.1, "NaN"), ("name", "a", "NaN")])
    record.set(2, {"lr": 0.1 + 0.2, "name": "é中\u2028"}, [("lr", "NaN", 0.1 + 0.2)])
    trainer = Trainer(record.path)
    with trainer.w as w:
        w.poll(1)
        assert math.isnan(trainer.now["lr"])
        assert trainer.now["name"] == "NaN"
        w.poll(2)
    assert trainer.now == {"lr": 0.1 + 0.2, "name": "é中\u2028"}
    assert warnings(caplog) == []


def test_it_can_be_run_again(record):
    """Each start of a decorated training function replays from the beginning."""
    trainer = Trainer(record.set(1, {"lr": 0.5}).path)
    assert trainer.train(range(3)) == [(1, "lr", 0.1, 0.5)]
    trainer.now["lr"] = 0.1
    assert trainer.train(range(3)) == [(1, "lr", 0.1, 0.5)]


def test_what_cannot_be_replayed_is_an_error_of_session(record, tmp_path):
    """Another run, another replica, a damaged or a missing file: known before training starts."""
    record.set(1, {"lr": 0.5})
    for wrong in ({"run": "other"}, {"replica_id": "rank-1"}):
        with pytest.raises(weavelet.ReplayError, match=r"record\.jsonl"):
            Trainer(record.path, **wrong)
    with pytest.raises(weavelet.ReplayError, match="cannot be read"):
        Trainer(tmp_path / "none.jsonl")
    record.path.write_bytes(record.lines[0][:40])
    with pytest.raises(weavelet.ReplayError, match="line 1"):
        Trainer(record.path)


def test_a_replica_without_a_name_takes_the_only_one(record, monkeypatch):
    """Its default name holds a process id, which is another one now."""
    for name in ("WEAVELET_REPLICA", "RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    record.set(1, {"lr": 0.5})
    assert Trainer(record.path, replica_id=None).train(range(3)) == [(1, "lr", 0.1, 0.5)]


def test_a_disabled_session_replays_nothing(record):
    """WEAVELET_MODE=disabled turns a replay off with the rest."""
    record.set(1, {"lr": 0.5})
    assert Trainer(record.path, mode="disabled").train(range(3)) == []

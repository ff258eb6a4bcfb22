"""state_dict and load_state_dict: the controls' part of the user's checkpoint."""

from __future__ import annotations

import json
import math
import threading

import pytest

import weavelet
from weavelet.messages import Act, Adopt, AppliedSet, Deliver, Entry, Position, Set
from weavelet.session import session
from weavelet.testing import local_session


class Trainer:
    """One life of a replica: controls over one dict, an action, and how often each was called."""

    def __init__(self, *, w=None, lr=0.1, gain=1):
        self.w = local_session() if w is None else w
        self.now = {"lr": lr, "gain": gain}
        self.calls = []
        w, now = self.w, self.now

        @w.handler("lr", get=lambda: now["lr"])
        def set_lr(value: float) -> None:
            self.calls.append(("lr", value))
            now["lr"] = value

        @w.handler("gain", get=lambda: now["gain"])
        def set_gain(value: int) -> None:
            self.calls.append(("gain", value))
            if value == 13:
                raise RuntimeError("unlucky")
            now["gain"] = value

        @w.handler("name")
        def set_name(value: str) -> None:
            self.calls.append(("name", value))

        @w.action("save", idempotent=True)
        def save() -> str:
            self.calls.append(("save",))
            return "saved"

    def receive(self, *messages):
        self.w._local.inbox += messages
        self.w._local.page.ring()

    @property
    def told(self):
        """(entry, kind, step, adopted) of each outcome."""
        return [(one.entry, one.kind, one.step, one.adopted) for one in self.w.outcomes]


def deliver(sequence, body, *, epoch="e", earlier=False):
    entry = Entry(id=f"x{sequence}", author="ann", body=body)
    return Deliver(entry, Position(epoch, sequence), earlier=earlier)


def adopt(*sets, position=50):
    """Applied Sets of the log, as (sequence, values)."""
    named = tuple(AppliedSet(f"x{number}", number, "ann", values) for number, values in sets)
    return Adopt(named, Position("e", position))


def first_life():
    """The state of a life in which x1 set lr=0.5 at step 3 and x2 saved at step 4."""
    trainer = Trainer()
    with trainer.w as w:
        w.poll(0)
        trainer.receive(deliver(1, Set({"lr": 0.5})))
        w.poll(3)
        trainer.receive(deliver(2, Act("save")))
        w.poll(4)
        w.poll(5)
        return w.state_dict()


def test_a_state_is_plain_data():
    """What torch.save and JSON can keep: version, names, step, values and what was decided."""
    state = first_life()
    assert json.loads(json.dumps(state)) == state
    job = state.pop("job")
    assert job
    assert state == {
        "version": 1,
        "run": state["run"],
        "step": 5,
        "values": {"lr": 0.5, "gain": 1},
        "decided": {
            "x1": ["applied", 3, 0, None, []],
            "x2": ["applied", 4, 0, None, []],
        },
    }


def test_a_state_can_be_had_before_the_start_and_after_the_end():
    """No server and no start are needed for either; the last step is kept."""
    trainer = Trainer()
    assert trainer.w.state_dict()["step"] is None
    with trainer.w as w:
        w.poll(7)
    state = trainer.w.state_dict()
    assert (state["step"], state["values"]) == (7, {"lr": 0.1, "gain": 1})


def test_values_are_restored_by_the_handlers_before_the_start():
    """What differs is set, what is equal is left alone, and the changes are returned."""
    trainer = Trainer()
    changes = trainer.w.load_state_dict(first_life())
    assert [(one.name, one.old, one.new) for one in changes] == [("lr", 0.1, 0.5)]
    assert trainer.calls == [("lr", 0.5)]


def test_values_are_restored_after_the_start():
    """Also between polls, as in a roll-back within one life."""
    trainer = Trainer()
    with trainer.w as w:
        w.poll(0)
        state = w.state_dict()
        w.push(lr=0.9, gain=5)
        w.poll(1)
        w.load_state_dict(state)
        assert trainer.now == {"lr": 0.1, "gain": 1}


def test_a_control_without_get_is_restored_once_it_was_set():
    """Its value is the one that was last applied."""
    trainer = Trainer()
    with trainer.w as w:
        w.push(name="b")
        w.poll(0)
        state = w.state_dict()
    again = Trainer()
    again.w.load_state_dict(state)
    assert again.calls == [("name", "b")]


def test_all_or_nothing():
    """One value that does not fit, or a handler that raises, leaves everything as it was."""
    for wrong in ("many", 13):
        trainer = Trainer()
        state = first_life()
        state["values"]["gain"] = wrong
        with pytest.raises(weavelet.ControlError, match="gain") as caught:
            trainer.w.load_state_dict(state)
        assert caught.value.name == "gain"
        assert trainer.now == {"lr": 0.1, "gain": 1}
        assert trainer.w.state_dict()["decided"] == {}


def test_a_control_that_is_not_registered_is_an_error_unless_told_otherwise(caplog):
    """The error says what to do; with strict=False the others are restored and it is logged."""
    trainer = Trainer()
    state = first_life()
    state["values"]["gone"] = 1
    with pytest.raises(
        weavelet.ControlError, match=r"gone: .*register it before loading"
    ) as caught:
        trainer.w.load_state_dict(state)
    assert caught.value.name == "gone"
    assert trainer.now["lr"] == 0.1
    trainer.w.load_state_dict(state, strict=False)
    assert trainer.now["lr"] == 0.5
    assert "gone" in caplog.text


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({}, "expected what Weavelet.state_dict"),
        (None, "expected what Weavelet.state_dict"),
        ({"version": 2}, "of version 2, but this weavelet reads 1"),
        ({"version": 1, "values": []}, "expected what Weavelet.state_dict"),
        ([1] * 1_000_000, "expected what Weavelet.state_dict"),
    ],
    ids=["empty", "none", "version", "values", "large"],
)
def test_anything_else_is_refused(state, text):
    """What is no state is told in a short ValueError."""
    trainer = Trainer()
    with pytest.raises(ValueError, match=text) as caught:
        trainer.w.load_state_dict(state)
    assert len(str(caught.value)) < 1000


def test_nan_is_a_value():
    """A diverged control comes back diverged, once."""
    trainer = Trainer(lr=math.nan)
    state = trainer.w.state_dict()
    assert trainer.w.load_state_dict(state) == ()
    other = Trainer()
    other.w.load_state_dict(state)
    assert math.isnan(other.now["lr"])


def test_what_the_checkpoint_holds_is_not_adopted_again():
    """A value that a schedule has moved on since is not set back to what was commanded."""
    state = first_life()
    state["values"]["lr"] = 0.25
    trainer = Trainer()
    with trainer.w as w:
        w.load_state_dict(state)
        trainer.receive(adopt((1, {"lr": 0.5})))
        w.poll(6)
    assert trainer.now["lr"] == 0.25
    assert trainer.told == []


@pytest.mark.parametrize("before", [True, False], ids=["before the start", "after it"])
def test_what_came_after_the_checkpoint_is_adopted(before):
    """The log wins: later Sets are taken over, and the outcome shows the step of adoption."""
    trainer = Trainer()
    if before:
        trainer.w.load_state_dict(first_life())
    with trainer.w as w:
        if not before:
            w.load_state_dict(first_life())
        trainer.receive(adopt((1, {"lr": 0.5}), (3, {"lr": 0.7, "gain": 4})))
        w.poll(6)
        assert w.state_dict()["decided"]["x3"][:2] == ["applied", 6]
    assert trainer.now == {"lr": 0.7, "gain": 4}
    assert trainer.told == [("x3", "applied", 6, True)]


def test_the_log_wins_also_where_it_was_adopted_before_the_load():
    """The order of the first poll and of the load does not matter."""
    trainer = Trainer()
    with trainer.w as w:
        trainer.receive(adopt((1, {"lr": 0.5}), (3, {"gain": 4})))
        w.poll(6)
        w.load_state_dict(first_life())
    assert trainer.now == {"lr": 0.5, "gain": 4}


def test_with_adopt_checkpoint_the_checkpoint_wins():
    """Whoever asked for that keeps what was loaded."""
    trainer = Trainer()
    trainer.w._adopt = "checkpoint"
    with trainer.w as w:
        trainer.receive(adopt((3, {"gain": 4})))
        w.poll(6)
        w.load_state_dict(first_life())
    assert trainer.now == {"lr": 0.5, "gain": 1}


def test_what_the_checkpoint_holds_is_not_run_again_and_said_to_be():
    """Even an idempotent action: its outcome is that of the life that ran it, with its step."""
    trainer = Trainer()
    with trainer.w as w:
        w.load_state_dict(first_life())
        trainer.calls.clear()
        trainer.receive(
            deliver(1, Set({"lr": 0.5})),
            deliver(2, Act("save"), earlier=True),
            deliver(3, Act("save")),
        )
        w.poll(6)
    assert trainer.calls == [("save",)]
    assert trainer.told == [
        ("x1", "applied", 3, False),
        ("x2", "applied", 4, False),
        ("x3", "applied", 6, False),
    ]
    assert "earlier life" in w.outcomes[0].reason
    assert w.outcomes[0].changes == ()


def test_what_was_decided_before_a_checkpoint_stays_decided_in_the_next_one():
    """Two restarts later the first life's entries are still known."""
    state = first_life()
    for _ in range(2):
        trainer = Trainer()
        with trainer.w as w:
            w.load_state_dict(state)
            w.poll(6)
            state = w.state_dict()
    assert set(state["decided"]) == {"x1", "x2"}


def test_another_jobs_entries_are_forgotten():
    """In a new launch the values hold; the old log's entries cannot come."""
    trainer = Trainer(w=local_session())
    state = first_life()
    state["job"] = "another"
    trainer.w.load_state_dict(state)
    assert trainer.now["lr"] == 0.5
    assert trainer.w.state_dict()["decided"] == {}


def test_a_new_life_of_one_process_begins_from_the_log():
    """A session started again has forgotten what the life before had decided."""
    trainer = Trainer()
    with trainer.w as w:
        w.push(lr=0.5)
        w.poll(0)
    with trainer.w as w:
        assert w.state_dict()["decided"] == {}


def test_loading_in_a_handler_or_beside_the_poller_is_refused():
    """Handlers run at the safe point, one after the other, in one thread."""
    trainer = Trainer()
    state = first_life()
    w = trainer.w

    @w.handler("deep")
    def set_deep(value: int) -> None:
        w.load_state_dict(state)

    errors = []

    def beside():
        try:
            w.load_state_dict(state)
        except weavelet.WrongThreadError as error:
            errors.append(str(error))

    with w:
        w.push(deep=1)
        w.poll(0)
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()
    assert "load_state_dict() was called inside a handler" in w.outcomes[0].reason
    assert "load_state_dict() was called from two threads" in errors[0]
    assert trainer.now["lr"] == 0.1


def test_a_disabled_session_restores_values():
    """The training goes on with what it had, whether or not it can be steered."""
    trainer = Trainer(w=session("r1", run="r", mode="disabled"))
    trainer.w.load_state_dict(first_life())
    assert trainer.now["lr"] == 0.5


def test_who_set_a_value_last_is_told_to_whom_expected_another():
    """Of two operators the second learns what the value is, and who set it at which step."""
    trainer = Trainer()
    with trainer.w as w:
        trainer.receive(
            deliver(1, Set({"lr": 0.5}, {"lr": 0.1})), deliver(2, Set({"lr": 0.7}, {"lr": 0.1}))
        )
        w.poll(8)
        assert w.outcomes[1].reason == (
            "lr: expected to be 0.1, but it is 0.5, set by ann at step 8"
        )
        trainer.now["lr"] = 0.3
        trainer.receive(deliver(3, Set({"lr": 0.7}, {"lr": 0.1})))
        w.poll(9)
        assert w.outcomes[2].reason == "lr: expected to be 0.1, but it is 0.3"
    assert [one.kind for one in w.outcomes] == ["applied", "rejected", "rejected"]

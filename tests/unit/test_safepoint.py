"""The safe point: entries become outcomes, in order, each once, in the thread that polls."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import msgspec
import pytest

import weavelet
from weavelet import moving
from weavelet.channel.frames import Reader, encode
from weavelet.channel.page import Page, Phase
from weavelet.messages import (
    Act,
    Adopt,
    AppliedSet,
    Controls,
    Deliver,
    Entry,
    Freeze,
    FromSidecar,
    FromTrainer,
    Notice,
    Pause,
    Position,
    Refused,
    Resume,
    Set,
    Settled,
    Stop,
    Values,
)
from weavelet.testing import local_session

ENDLESS = 3600.0


class Trainer:
    """A session with two controls and two actions over one dict."""

    def __init__(self, **arguments):
        self.w = local_session(**arguments)
        self.now = {"lr": 0.1, "gain": 1}
        self.calls = []
        w, now = self.w, self.now

        @w.handler("lr", get=lambda: now["lr"])
        def set_lr(value: float) -> None:
            self.calls.append(("lr", value))
            now["lr"] = value

        @w.handler("gain", get=lambda: now["gain"], idempotent=True)
        def set_gain(value: int) -> None:
            self.calls.append(("gain", value))
            now["gain"] = value

        @w.action("add")
        def add(left: int, right: int = 1) -> int:
            self.calls.append(("add", left, right))
            return left + right

        @w.action("save", idempotent=True)
        def save() -> str:
            self.calls.append(("save",))
            return "saved"

    def receive(self, *messages):
        """Hand the session what a sidecar would."""
        self.w._local.inbox += messages
        self.w._local.page.ring()

    @property
    def kinds(self):
        return [outcome.kind for outcome in self.w.outcomes]


@pytest.fixture
def trainer():
    """A started session."""
    trainer = Trainer()
    with trainer.w:
        yield trainer


def deliver(sequence, body, *, epoch="e", identifier=None, **more):
    """An entry on its way to the trainer."""
    fields = {key: more.pop(key) for key in ("at_step", "deadline") if key in more}
    entry = Entry(id=identifier or f"x{sequence}", author="a", body=body, **fields)
    return Deliver(entry, Position(epoch, sequence), **more)


def adopt(values, entries, sequence=9, epoch="e"):
    """What a log says was applied before."""
    sets = tuple(AppliedSet(entry, number, "a", values) for entry, number in entries)
    return Adopt(sets, Position(epoch, sequence))


def last(trainer):
    return trainer.w.outcomes[-1]


# Set and Act.


def test_a_set_happens_in_the_next_poll_and_nowhere_else(trainer):
    """The value is untouched until poll, which returns the change; the outcome tells the same."""
    trainer.w.poll(0)
    trainer.w.push(lr="0.01")
    trainer.w.report(0, loss=1.0)
    assert trainer.calls == []
    changes = trainer.w.poll(7)
    assert changes == (weavelet.Change("lr", 0.1, 0.01),)
    assert trainer.now["lr"] == 0.01
    outcome = last(trainer)
    assert (outcome.kind, outcome.step, outcome.changes) == ("applied", 7, changes)
    assert (outcome.replica, outcome.incarnation) == ("local", trainer.w.incarnation)
    assert trainer.w.poll(8) == ()


def test_the_state_is_equal_where_the_values_are(trainer):
    """The hash of all values changes with them, and comes back with them."""
    for value in (0.5, 0.2, 0.5):
        trainer.w.push(lr=value)
        trainer.w.poll()
    first, second, third = [outcome.state for outcome in trainer.w.outcomes]
    assert first == third != second


def test_changes_of_one_poll_come_together_in_the_order_of_the_log(trainer):
    """Several entries waiting are decided in order, and poll returns all their changes."""
    trainer.w.push(lr=0.2)
    trainer.w.push({"gain": 3, "lr": 0.3})
    trainer.w.act("add", left=1)
    changes = trainer.w.poll(0)
    assert [(change.name, change.new) for change in changes] == [
        ("lr", 0.2),
        ("gain", 3),
        ("lr", 0.3),
    ]
    assert trainer.calls == [("lr", 0.2), ("gain", 3), ("lr", 0.3), ("add", 1, 1)]


def test_an_action_answers_with_its_result(trainer):
    """Arguments are decoded, defaults hold, and the result goes back."""
    trainer.w.act("add", left="20", right=22)
    assert trainer.w.poll(3) == ()
    assert (last(trainer).kind, last(trainer).result) == ("applied", 42)


def test_a_refused_value_changes_nothing_of_its_set(trainer):
    """One value that does not fit rejects the whole Set."""
    trainer.w.push(lr=0.5, gain="many")
    assert trainer.w.poll(0) == ()
    assert trainer.now == {"lr": 0.1, "gain": 1}
    assert last(trainer).kind == "rejected"
    assert "'many'" in last(trainer).reason


def test_expect_holds_or_nothing_happens(trainer):
    """A Set whose expectation has been overtaken is rejected with what the value is."""
    trainer.w.push(lr=0.5, expect={"gain": 1})
    trainer.w.push(lr=0.7, expect={"lr": 0.1})
    trainer.w.poll(0)
    assert trainer.kinds == ["applied", "rejected"]
    assert "0.5" in last(trainer).reason
    assert trainer.now["lr"] == 0.5


def test_a_dry_run_touches_nothing(trainer):
    """It ends as skipped, with the changes that would be made; a bad value is still rejected."""
    trainer.w.push(lr=0.5, dry_run=True)
    trainer.w.push(lr="fast", dry_run=True)
    assert trainer.w.poll(0) == ()
    assert trainer.kinds == ["skipped", "rejected"]
    assert trainer.w.outcomes[0].changes == (weavelet.Change("lr", 0.1, 0.5),)
    assert trainer.calls == []


def test_a_failing_handler_does_not_reach_the_loop(trainer):
    """Whatever it raises, poll returns and the outcome carries the traceback."""

    @trainer.w.handler("odd")
    def set_odd(value: int) -> None:
        raise weavelet.StopTraining("not really")

    trainer.w.push(odd=1)
    assert trainer.w.poll(0) == ()
    assert last(trainer).kind == "failed"
    assert "set_odd" in last(trainer).traceback


def test_a_result_too_large_for_the_channel_is_left_out_and_said():
    """An action that ran is told as applied, without what cannot be sent."""
    with local_session() as w:

        @w.action()
        def dump() -> str:
            return "x" * (2 << 20)

        w.act("dump")
        w.poll(0)
        (outcome,) = w.outcomes
    assert (outcome.kind, outcome.result) == ("applied", None)
    assert "not sent" in outcome.reason


def test_text_that_is_no_unicode_does_not_reach_the_loop(trainer):
    """An error with half a character in it, as from a file's name, is still told."""

    @trainer.w.handler("path")
    def set_path(value: str) -> None:
        raise OSError("no such file: \udcff")

    trainer.w.push(path="p")
    assert trainer.w.poll(0) == ()
    assert last(trainer).kind == "failed"
    assert "no such file" in last(trainer).reason


def test_an_entry_of_a_later_version_is_skipped(trainer):
    """What this version does not know how to do ends as skipped, with a reason."""
    trainer.receive(deliver(1, Notice("replica_failed")), deliver(2, Freeze()))
    trainer.w.poll(0)
    assert trainer.kinds == ["skipped", "skipped"]
    assert "does not know" in last(trainer).reason


# Steps and deadlines.


def test_an_entry_waits_for_its_step_and_others_do_not_wait_for_it(trainer):
    """A Set for step 5 is applied there, at the very poll."""
    trainer.w.push(lr=0.5, at_step=5)
    trainer.w.push(gain=2)
    assert [c.name for c in trainer.w.poll(3)] == ["gain"]
    assert trainer.w.poll(4) == ()
    assert [c.name for c in trainer.w.poll(5)] == ["lr"]
    assert last(trainer).step == 5
    assert trainer.w.poll(5) == ()


def test_an_entry_for_this_very_step_is_applied_now(trainer):
    """at_step equal to the step of the poll that receives it is in time."""
    trainer.w.push(lr=0.5, at_step=4)
    assert len(trainer.w.poll(4)) == 1


def test_a_step_that_has_passed_is_rejected(trainer):
    """The reason names both steps."""
    trainer.w.push(lr=0.5, at_step=3)
    assert trainer.w.poll(8) == ()
    assert last(trainer).kind == "rejected"
    assert "step 3 has passed" in last(trainer).reason
    assert "step 8" in last(trainer).reason


def test_a_step_that_is_jumped_over_is_rejected(trainer):
    """An entry is applied at its step or not at all."""
    trainer.w.push(lr=0.5, at_step=5)
    trainer.w.poll(4)
    assert trainer.w.poll(6) == ()
    assert last(trainer).kind == "rejected"
    assert "step 5 was never polled" in last(trainer).reason
    assert trainer.calls == []


def test_what_waited_for_this_step_comes_before_what_is_new(trainer):
    """Of two entries decided at one poll, the earlier in the log goes first."""
    trainer.w.push(lr=0.5, at_step=5)
    trainer.w.poll(4)
    trainer.w.push(lr=0.6)
    assert [change.new for change in trainer.w.poll(5)] == [0.5, 0.6]
    assert trainer.now["lr"] == 0.6


def test_what_comes_too_late_expires_untouched(trainer):
    """The deadline is said, the handler is not called."""
    trainer.w.deliver(Set({"lr": 0.5}), expired=True)
    assert trainer.w.poll(0) == ()
    assert last(trainer).kind == "expired"
    assert "1 s" in last(trainer).reason
    assert trainer.calls == []


def test_a_deadline_also_ends_the_wait_for_a_step(trainer):
    """An entry for a step that does not come in time expires, before that step."""
    soon = time.monotonic() + 0.05
    trainer.receive(deliver(1, Set({"lr": 0.5}), at_step=1000, deadline=0.05, expires=soon))
    trainer.w.poll(0)
    assert trainer.w.outcomes == []
    step = 0
    while not trainer.w.outcomes:
        step += 1
        trainer.w.poll(0)
    assert last(trainer).kind == "expired"
    assert trainer.calls == []


# Once.


def test_the_same_entry_delivered_twice_runs_once(trainer):
    """A second sidecar that delivers again what the first had brought changes nothing."""
    again = [deliver(1, Act("add", {"left": 1})), deliver(2, Act("add", {"left": 2}))]
    trainer.receive(*again)
    trainer.w.poll(0)
    trainer.receive(*again, deliver(3, Act("add", {"left": 3})))
    trainer.w.poll(1)
    assert [call[1] for call in trainer.calls] == [1, 2, 3]
    assert [outcome.sequence for outcome in trainer.w.outcomes] == [1, 2, 3]


def test_a_scheduled_entry_delivered_twice_runs_once(trainer):
    """It counts as taken while it waits for its step."""
    again = deliver(1, Set({"lr": 0.5}), at_step=2)
    trainer.receive(again)
    trainer.w.poll(0)
    trainer.receive(again)
    trainer.w.poll(1)
    assert len(trainer.w.poll(2)) == 1
    assert trainer.kinds == ["applied"]


def test_another_store_begins_anew(trainer):
    """Sequences of a store with another epoch are other entries."""
    trainer.receive(deliver(5, Act("save")))
    trainer.w.poll(0)
    trainer.receive(deliver(1, Act("save"), epoch="another"))
    trainer.w.poll(1)
    assert trainer.kinds == ["applied", "applied"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (Act("add", {"left": 1}), "unknown"),
        (Act("save"), "applied"),
        (Set({"lr": 0.5}), "unknown"),
        (Set({"gain": 5}), "applied"),
        (Set({"gain": 5, "lr": 0.5}), "unknown"),
        (Stop(), "unknown"),
        (Pause(), "unknown"),
    ],
)
def test_what_an_earlier_life_may_have_begun_runs_again_only_if_it_may(trainer, body, kind):
    """Without idempotent=True an entry of an earlier life is answered as unknown."""
    trainer.receive(deliver(1, body, earlier=True))
    trainer.w.poll(0)
    assert trainer.kinds == [kind]
    assert (trainer.calls == []) == (kind == "unknown")
    assert not trainer.w.stop_requested


def test_what_is_about_to_run_is_said_before_it_runs():
    """Started goes out ahead of the handler, so that a death inside it can be told."""
    posted = []
    trainer = Trainer()
    with trainer.w as w:
        w._local.post = lambda frame, key: posted.append((key, list(trainer.calls)))
        w.act("save")
        w.poll(0)
    assert ((("started", 1)), []) in posted


# Adopting.


def test_what_the_log_says_is_adopted_as_one_transaction(trainer):
    """All values at once; every entry gets an outcome, the last one with the changes."""
    trainer.receive(adopt({"lr": 0.5, "gain": 4}, [("a", 3), ("b", 7)], sequence=8))
    changes = trainer.w.poll(0)
    assert [(change.name, change.new) for change in changes] == [("lr", 0.5), ("gain", 4)]
    assert [(o.entry, o.sequence, o.adopted) for o in trainer.w.outcomes] == [
        ("a", 3, True),
        ("b", 7, True),
    ]
    assert [outcome.changes for outcome in trainer.w.outcomes] == [(), changes]


def test_adopting_sets_the_position(trainer):
    """What lies before it is not run, what comes after it is."""
    trainer.receive(adopt({}, [], sequence=8))
    trainer.receive(deliver(8, Act("save")), deliver(9, Act("save")))
    trainer.w.poll(0)
    assert [outcome.sequence for outcome in trainer.w.outcomes] == [9]


def test_adopting_again_after_going_on_does_nothing(trainer):
    """A new sidecar's Adopt of a past that this life has lived itself is left alone."""
    trainer.receive(deliver(9, Set({"lr": 0.7})))
    trainer.w.poll(0)
    trainer.receive(adopt({"lr": 0.5}, [("a", 3)], sequence=9))
    assert trainer.w.poll(1) == ()
    assert trainer.now["lr"] == 0.7


def test_a_value_that_no_longer_fits_spoils_the_adoption_as_a_whole(trainer):
    """All or nothing holds for what is adopted, and the outcomes say why."""
    trainer.receive(adopt({"lr": 0.5, "gain": "many"}, [("a", 3), ("b", 7)]))
    assert trainer.w.poll(0) == ()
    assert trainer.kinds == ["rejected", "rejected"]
    assert all("'many'" in outcome.reason for outcome in trainer.w.outcomes)
    assert trainer.now == {"lr": 0.1, "gain": 1}


def test_what_is_not_registered_here_is_left_out_of_the_adoption_and_said(trainer, caplog):
    """The known values are adopted; the outcome and the log name the others."""
    trainer.receive(adopt({"lr": 0.5, "warmup": 9}, [("a", 3)]))
    assert [change.name for change in trainer.w.poll(0)] == ["lr"]
    assert last(trainer).kind == "applied"
    assert "warmup" in last(trainer).reason
    assert "warmup" in caplog.text


def test_an_interrupted_adoption_is_answered_too():
    """Ctrl-C while adopting goes up, and the operator is told."""
    with local_session() as w:

        @w.handler("slow")
        def set_slow(value: int) -> None:
            raise KeyboardInterrupt

        w._local.inbox.append(adopt({"slow": 1}, [("a", 3)]))
        with pytest.raises(KeyboardInterrupt):
            w.poll(0)
        assert [(o.entry, o.kind) for o in w.outcomes] == [("a", "failed")]


# Pause, resume, stop.


def run_in_thread(function):
    """Start a thread; the tests join it with a deadline."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def until(condition):
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        threading.Event().wait(0.002)


def test_a_pause_holds_until_its_lease_ends(trainer):
    """poll returns after the lease; the time is counted as paused."""
    trainer.w.pause(0.08)
    began = time.monotonic()
    trainer.w.poll(0)
    held = time.monotonic() - began
    assert held >= 0.08
    words = trainer.w._page.words
    assert 75 <= words[Page.PAUSED] <= held * 1000 + 5
    assert words[Page.PHASE] == Phase.RUNNING
    assert trainer.kinds == ["applied"]
    began = time.monotonic()
    trainer.w.poll(1)
    assert words[Page.PAUSED] <= held * 1000 + 5


def test_a_pause_holds_until_resume_and_decides_entries_meanwhile(trainer):
    """While held the phase is paused; a Set is applied there, at the step of the poll."""
    w = trainer.w
    words = w._page.words
    w.pause()
    polled = []
    thread = run_in_thread(lambda: polled.append(w.poll(4)))
    until(lambda: words[Page.PHASE] == Phase.PAUSED)
    w.push(lr=0.5)
    until(lambda: len(w.outcomes) == 2)
    assert thread.is_alive()
    assert words[Page.PHASE] == Phase.PAUSED
    w.resume()
    thread.join(10)
    assert polled == [(weavelet.Change("lr", 0.1, 0.5),)]
    assert [outcome.step for outcome in w.outcomes] == [4, 4, 4]
    assert words[Page.PHASE] == Phase.RUNNING


def test_a_pause_ended_in_the_same_poll_is_none(trainer):
    """Pause and resume together let the loop pass at once."""
    trainer.w.pause()
    trainer.w.resume()
    trainer.w.poll(0)
    assert trainer.kinds == ["applied", "applied"]
    assert trainer.w._page.words[Page.PAUSED] == 0


def test_a_second_pause_replaces_the_lease_of_the_first(trainer):
    """An hour's pause followed by a short one ends soon."""
    trainer.w.pause(ENDLESS)
    trainer.w.pause(0.02)
    trainer.w.poll(0)
    assert trainer.kinds == ["applied", "applied"]


def test_resume_without_a_pause_says_so(trainer):
    """It is applied, with a remark."""
    trainer.w.resume()
    trainer.w.poll(0)
    assert (last(trainer).kind, last(trainer).reason) == ("applied", "was not paused")


def test_a_pause_in_a_section_goes_back_to_the_section(trainer):
    """After a pause the phase is what it was."""
    with trainer.w.section("evaluation"):
        trainer.w.pause(0.01)
        trainer.w.poll(0)
        assert trainer.w._page.words[Page.PHASE] == Phase.IN_SECTION


def test_stop_ends_a_pause():
    """A stop reaches a loop that is held."""
    with local_session() as w:
        w.pause()
        w.request_stop("enough")
        w.poll(0)
    assert w.stopped


def test_a_scheduled_entry_expires_while_paused(trainer):
    """The clock of deadlines runs on at the safe point, also for what waits for a step."""
    w = trainer.w
    soon = time.monotonic() + 0.05
    trainer.receive(deliver(1, Set({"lr": 0.5}), at_step=99, deadline=0.05, expires=soon))
    trainer.receive(deliver(2, Pause(0.3)))
    w.poll(0)
    assert [(o.sequence, o.kind) for o in w.outcomes] == [(2, "applied"), (1, "expired")]


def test_ctrl_c_ends_a_held_poll_and_the_next_poll_holds_again(trainer):
    """KeyboardInterrupt comes out of a paused poll with the phase put right; the pause stands."""
    w = trainer.w

    def interrupt(seconds):
        raise KeyboardInterrupt

    w._local.wait = interrupt
    w.pause()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            w.poll(0)
        assert w._page.words[Page.PHASE] == Phase.RUNNING
    w.resume()
    w.poll(1)


def test_stop_raises_at_this_poll_and_at_every_later_one():
    """A loop that swallows BaseException once is told again."""
    with local_session() as w:
        w.request_stop("enough")
        for step in range(3):
            with pytest.raises(weavelet.StopTraining, match="enough"):
                w.poll(step)
        assert [outcome.kind for outcome in w.outcomes] == ["applied"]
        assert w.stop_requested


def test_as_a_flag_stop_only_sets_the_flag():
    """With on_stop='flag' nothing is raised and no pause holds any more."""
    with local_session(on_stop="flag") as w:
        w.request_stop()
        assert not w.stop_requested
        assert w.poll(0) == ()
        assert w.stop_requested
        w.pause()
        assert w.poll(1) == ()
    assert w.stopped


def test_changes_of_the_poll_that_stops_are_made_and_told(trainer):
    """A Set before the stop is applied and answered, though poll cannot return it."""
    trainer.w.push(lr=0.5)
    trainer.w.request_stop()
    with pytest.raises(weavelet.StopTraining):
        trainer.w.poll(0)
    assert trainer.now["lr"] == 0.5
    assert trainer.kinds == ["applied", "applied"]


# Threads, handlers that poll, and Ctrl-C.


def test_a_second_thread_gets_an_error_and_the_owner_gets_the_entry(trainer):
    """What waits is applied in the thread that polled first, and only there."""
    w = trainer.w
    w.poll(0)
    w.push(lr=0.5)
    errors = []

    def other():
        try:
            w.poll(1)
        except weavelet.WrongThreadError as error:
            errors.append(str(error))

    run_in_thread(other).join(10)
    assert len(errors) == 1
    assert "two threads" in errors[0]
    assert trainer.calls == []
    assert len(w.poll(2)) == 1


def test_a_second_thread_may_poll_while_nothing_waits(trainer):
    """The check belongs to the slow path."""
    trainer.w.poll(0)
    got = []
    run_in_thread(lambda: got.append(trainer.w.poll(1))).join(10)
    assert got == [()]


def test_a_handler_that_polls_fails_and_says_why(trainer):
    """The inner poll raises SessionError, the entry fails, and the next ones go on."""
    w = trainer.w

    @w.handler("deep")
    def set_deep(value: int) -> None:
        w.poll(99)

    w.push(deep=1)
    w.push(lr=0.5)
    assert [change.name for change in w.poll(0)] == ["lr"]
    assert trainer.kinds == ["failed", "applied"]
    assert "do not poll in them" in w.outcomes[0].reason
    assert [outcome.step for outcome in w.outcomes] == [0, 0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_in_a_handler_rolls_back_answers_and_goes_up(trainer, error):
    """The interrupted Set is undone and told as failed; what waited behind it comes later."""
    w = trainer.w

    @w.handler("slow")
    def set_slow(value: int) -> None:
        raise error

    w.push({"lr": 0.5, "slow": 1})
    w.push(gain=7)
    with pytest.raises(error):
        w.poll(0)
    assert trainer.now["lr"] == 0.1
    assert trainer.kinds == ["failed"]
    assert error.__name__ in last(trainer).reason
    assert [change.name for change in w.poll(1)] == ["gain"]


def test_ctrl_c_does_not_lose_what_waited_for_the_same_step(trainer):
    """Entries for one step, the first of which is interrupted, all get an outcome."""
    w = trainer.w

    @w.handler("slow")
    def set_slow(value: int) -> None:
        raise KeyboardInterrupt

    w.push(slow=1, at_step=3)
    w.push(gain=7, at_step=3)
    w.poll(2)
    with pytest.raises(KeyboardInterrupt):
        w.poll(3)
    assert [change.name for change in w.poll(3)] == ["gain"]
    assert trainer.kinds == ["failed", "applied"]


# Announcing and being refused.


def announced(trainer):
    """The names of each announcement that the session makes."""
    lists = []
    trainer.w._safe_point._announce = lambda: lists.append(
        [spec.name for spec in trainer.w._registry.specs()]
    )
    return lists


def test_controls_registered_after_the_start_are_announced_by_the_next_poll(trainer):
    """Nothing else need happen for operators to see them, and they are announced once."""
    lists = announced(trainer)
    trainer.w.poll(0)
    lists.clear()

    @trainer.w.handler()
    def beta(value: float) -> None:
        pass

    trainer.w.poll(1)
    trainer.w.poll(2)
    assert [names[-1] for names in lists] == ["beta"]


def test_what_a_handler_registers_is_announced(trainer):
    """A registration inside a handler is seen in the same poll."""
    lists = announced(trainer)

    @trainer.w.action()
    def unlock() -> None:
        trainer.w.handler("beta", type=float)(lambda value: None)

    trainer.w.poll(0)
    lists.clear()
    trainer.w.act("unlock")
    trainer.w.poll(1)
    assert lists[-1][-1] == "beta"


def test_being_refused_is_said_once(trainer, caplog):
    """The reason is logged once, however often it comes, and training goes on."""
    for step in range(3):
        trainer.receive(Refused("another incarnation lives"))
        trainer.w.poll(step)
    assert caplog.text.count("another incarnation lives") == 1


def test_every_message_of_the_sidecar_is_one_that_the_safe_point_takes(trainer):
    """What can be decoded can be taken: a Deliver of each body has an outcome."""
    bodies = [Set({"lr": 0.2}), Act("save"), Pause(0.01), Resume(), Settled("x", 1), Stop()]
    frames = b"".join(encode(deliver(n, body)) for n, body in enumerate(bodies, 1))
    received = Reader(FromSidecar).feed(frames)
    trainer.receive(*received)
    with pytest.raises(weavelet.StopTraining):
        trainer.w.poll(0)
    assert [outcome.sequence for outcome in trainer.w.outcomes] == [1, 2, 3, 4, 5, 6]
    assert msgspec.structs.asdict(last(trainer))["kind"] == "applied"


# What values become by themselves.


@pytest.fixture
def told(trainer, monkeypatch):
    """All that the session says, besides outcomes and samples, as messages."""
    reader, heard = Reader(FromTrainer), []
    monkeypatch.setattr(
        trainer.w._local, "post", lambda frame, key: heard.extend(reader.feed(frame))
    )
    return heard


@pytest.fixture
def later(monkeypatch):
    """Lets time pass for the look at the values alone."""
    clock = SimpleNamespace(now=time.monotonic())
    monkeypatch.setattr(moving, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def pass_by(seconds):
        clock.now += seconds

    return pass_by


def test_what_a_schedule_does_to_a_value_is_told_at_the_next_look(trainer, told, later):
    """Only values that moved, not at each step, and not again while they stand still."""
    trainer.w.poll(0)
    for step in range(1, 50):
        trainer.now["lr"] *= 0.5
        trainer.receive()
        trainer.w.poll(step)
    assert [m for m in told if isinstance(m, Values)] == []
    later(5)
    trainer.receive()
    trainer.w.poll(50)
    later(5)
    trainer.receive()
    trainer.w.poll(51)
    assert [m for m in told if isinstance(m, Values)] == [Values({"lr": trainer.now["lr"]})]


def test_a_value_that_comes_back_is_told_too(trainer, told, later):
    """Also where it is what was announced once, before a command or the schedule changed it."""
    trainer.w.poll(0)
    trainer.w.push(lr=0.9)
    trainer.w.poll(1)
    for value in (0.1, 0.9):
        trainer.now["lr"] = value
        later(5)
        trainer.receive()
        trainer.w.poll(2)
        assert told[-1] == Values({"lr": value})


def test_what_an_action_sets_is_told_at_once(trainer, told, later):
    """An action may do anything to the values, such as bring a checkpoint's back."""

    @trainer.w.action("restore")
    def restore() -> None:
        trainer.now.update(lr=0.7, gain=9)

    trainer.w.poll(0)
    trainer.receive(deliver(1, Act("restore", {})))
    trainer.w.poll(1)
    assert told[-1] == Values({"lr": 0.7, "gain": 9})


def test_a_new_sidecar_is_told_the_hash_that_the_ranks_share(trainer, told, later):
    """A schedule has moved the value since: of that each rank would make another hash."""
    trainer.w.poll(0)
    trainer.w.push(gain=3)
    trainer.w.poll(1)
    shared = last(trainer).state
    trainer.now["lr"] = 0.05
    trainer.w._safe_point.announce_again()
    trainer.receive()
    trainer.w.poll(2)
    assert isinstance(told[-1], Controls)
    assert told[-1].state == shared
    assert {spec.name: spec.value for spec in told[-1].controls if spec.kind == "control"} == {
        "lr": 0.05,
        "gain": 3,
    }

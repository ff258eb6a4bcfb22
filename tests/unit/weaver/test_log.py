from __future__ import annotations

import math

import pytest

from harness.weaver import lifecycle, outcome, registration, set_entry
from weavelet.messages import Act, Begin, Entry, Freeze, Settled, Unfreeze
from weavelet.weaver.fleet import Fleet
from weavelet.weaver.log import JobLog, settled_entry

PAIR = ("rank-0", "rank-1")


@pytest.fixture
def fleet():
    fleet = Fleet(now=0.0)
    for order, replica in enumerate(PAIR):
        fleet.registered(registration(replica), order, 0.0)
    return fleet


@pytest.fixture
def log():
    log = JobLog("train", "j1")
    log.read(Entry(id="begin", author="weaver", body=Begin()), 1, 1000.0, 0.0)
    return log


def due(log, fleet, now=1.0):
    return [settled for _, settled in log.due(fleet, now)]


def settle(log, settled, sequence=90, at=0.0):
    return log.read(settled_entry(settled, log.last), sequence, 1001.0, at)


def kinds(settled):
    return {one.replica: one.kind for one in settled.outcomes}


def test_the_life_of_an_entry(log, fleet):
    """Accepted, delivered, applied, and settled when the log says so."""
    life = log.read(set_entry(addressed=PAIR), 2, 1000.5, 0.5)
    assert (life.state, life.over) == ("accepted", False)
    assert log.received("rank-0", 1) == []
    assert log.received("rank-0", 2) == [life]
    assert life.state == "delivered"
    log.decided(outcome("e1"))
    assert (life.state, due(log, fleet)) == ("delivered", [])
    log.decided(outcome("e1", replica="rank-1"))
    assert (life.state, life.over) == ("applied", False)
    (settled,) = due(log, fleet)
    assert kinds(settled) == {"rank-0": "applied", "rank-1": "applied"}
    assert settle(log, settled) is life
    assert life.over
    assert log.open
    assert due(log, fleet) == []
    assert not log.open
    assert life.update("7").id == "7"
    assert log.last == 90


def test_replicas_that_differ_make_it_mixed(log):
    """One word for the whole, the outcomes for the rest."""
    life = log.read(set_entry(addressed=PAIR), 2, 1000.0, 0.0)
    log.decided(outcome("e1"))
    log.decided(outcome("e1", "rejected", "rank-1"))
    assert life.state == "mixed"


def test_silence_is_unknown_after_deadline_and_grace(log, fleet):
    """Five seconds more than the deadline, so that a replica's own `expired` can arrive."""
    log.read(set_entry(addressed=PAIR, deadline=10.0), 2, 1000.0, 0.0)
    log.decided(outcome("e1"))
    assert due(log, fleet, 15.0) == []
    (settled,) = due(log, fleet, 15.1)
    assert kinds(settled) == {"rank-0": "applied", "rank-1": "unknown"}
    assert settled.outcomes[1].reason == "no answer within 15 s"
    assert settled.outcomes[1].incarnation == "a"


@pytest.mark.parametrize("word", ["exited", "crashed"])
def test_a_replica_that_ended_is_not_waited_for(log, fleet, word):
    """Its outcome is unknown at once, and the reason says why."""
    log.read(set_entry(addressed=PAIR), 2, 1000.0, 0.0)
    log.decided(outcome("e1"))
    fleet.ended("train", "j1", lifecycle(word, "rank-1"), 1.0)
    (settled,) = due(log, fleet, 1.0)
    assert settled.outcomes[1].reason == f"{word} before it answered"


def test_without_a_deadline_only_long_silence_ends_the_wait(log, fleet):
    """A change for a later step waits as long as its replicas can be heard."""
    log.read(set_entry(deadline=None, at_step=5000), 2, 1000.0, 0.0)
    assert due(log, fleet, 60.0) == []
    (settled,) = due(log, fleet, 61.0)
    assert settled.outcomes[0].reason == "not heard for a long time"


def test_a_late_outcome_amends_what_was_settled(log, fleet):
    """The truth replaces `unknown`; the entry stays over for those who waited."""
    life = log.read(set_entry(deadline=10.0), 2, 1000.0, 0.0)
    settle(log, due(log, fleet, 16.0)[0])
    assert (life.state, life.over) == ("unknown", True)
    assert log.decided(outcome("e1")) is life
    (amended,) = due(log, fleet, 17.0)
    assert kinds(amended) == {"rank-0": "applied"}
    settle(log, amended, 91)
    assert (life.state, life.over, due(log, fleet, 17.0)) == ("applied", True, [])


def test_a_replica_that_nobody_addressed_is_counted_too(log, fleet):
    """One that joined after the entry was written answers like the others."""
    log.read(set_entry(), 2, 1000.0, 0.0)
    log.decided(outcome("e1"))
    settle(log, due(log, fleet)[0])
    log.decided(outcome("e1", replica="rank-9"))
    assert kinds(due(log, fleet)[0]) == {"rank-0": "applied", "rank-9": "applied"}


def test_adopted_outcomes_are_shown_and_settle_nothing(log, fleet):
    """What late replicas take over is no news about the entry itself."""
    life = log.read(set_entry(), 2, 1000.0, 0.0)
    log.decided(outcome("e1"))
    settle(log, due(log, fleet)[0])
    assert log.decided(outcome("e1", replica="rank-9", adopted=True)) is life
    assert due(log, fleet) == []
    assert [one.replica for one in life.update().outcomes] == ["rank-0", "rank-9"]


def test_the_first_definite_outcome_of_a_replica_holds(log):
    """A repeated or contradicting one is no news; a definite one replaces unknown."""
    life = log.read(set_entry(), 2, 1000.0, 0.0)
    assert log.decided(outcome("e1", "unknown")) is life
    assert log.decided(outcome("e1", "applied")) is life
    assert log.decided(outcome("e1", "applied")) is None
    assert log.decided(outcome("e1", "failed", incarnation="b")) is None
    assert life.outcomes["rank-0"].kind == "applied"


def test_what_was_settled_outlasts_an_unknown(log, fleet):
    """Whoever settled it has heard more than the replica's next life, which does not know."""
    life = log.read(set_entry(), 2, 1000.0, 0.0)
    settle(log, Settled("e1", 2, (outcome("e1"),)))
    log.decided(outcome("e1", "unknown", incarnation="b"))
    assert (life.state, due(log, fleet)) == ("applied", [])


def test_two_weavers_agree(fleet):
    """One that knows less accepts what the other settled; the same Settled has the same id."""
    logs = [JobLog("train", "j1"), JobLog("train", "j1")]
    for log in logs:
        log.read(set_entry(addressed=PAIR, deadline=10.0), 2, 1000.0, 0.0)
        log.decided(outcome("e1"))
    logs[0].decided(outcome("e1", replica="rank-1"))
    (full,) = due(logs[0], fleet, 16.0)
    (partial,) = due(logs[1], fleet, 16.0)
    for log in logs:
        settle(log, full)
        assert due(log, fleet, 16.0) == []
    for log in logs:
        settle(log, partial, 91)
    assert due(logs[1], fleet, 16.0) == []
    (again,) = due(logs[0], fleet, 16.0)
    assert settled_entry(again, 91).id == settled_entry(full, 91).id


def test_late_outcomes_are_gathered(log, fleet):
    """A crowd of them makes one amended Settled, not one each."""
    log.read(set_entry(), 2, 1000.0, 0.0)
    log.decided(outcome("e1"))
    settle(log, due(log, fleet)[0], at=1.0)
    for late in ("rank-8", "rank-9"):
        log.decided(outcome("e1", replica=late))
        assert due(log, fleet, 1.2) == []
    (amended,) = due(log, fleet, 1.5)
    assert kinds(amended) == {"rank-0": "applied", "rank-8": "applied", "rank-9": "applied"}


def test_outcomes_may_be_read_before_their_entry(log, fleet):
    """The two streams are read side by side."""
    assert log.decided(outcome("e1")) is None
    life = log.read(set_entry(), 2, 1000.0, 0.0)
    assert life.state == "applied"
    assert len(due(log, fleet)) == 1


def test_begin_and_freezing_are_over_at_once(log, fleet):
    """They ask nothing of replicas; who froze the job holds until it is unfrozen."""
    freeze = log.read(Entry(id="f", author="ann@host", body=Freeze()), 2, 1000.0, 0.0)
    assert (freeze.state, freeze.over, log.frozen_by) == ("applied", True, "ann@host")
    log.read(Entry(id="u", author="bob", body=Unfreeze()), 3, 1000.0, 0.0)
    assert log.frozen_by is None
    assert due(log, fleet, 1e6) == []


def test_what_a_settled_carries_is_brief(log, fleet):
    """Tracebacks stay in the outcome stream: a thousand of them would not fit one message."""
    life = log.read(set_entry(body=Act("save")), 2, 1000.0, 0.0)
    log.decided(outcome("e1", "failed", reason="x" * 1000, traceback="t" * 4000))
    (settled,) = due(log, fleet)
    assert settled.outcomes[0].traceback is None
    assert len(settled.outcomes[0].reason) == 500
    settle(log, settled)
    assert life.update().outcomes[0].traceback == "t" * 4000


def test_a_settled_for_what_is_not_in_the_log_is_passed_over(log, fleet):
    """An entry may have aged out before its Settled."""
    assert settle(log, Settled("gone", 2, (outcome("gone"),))) is None
    assert due(log, fleet) == []


@pytest.mark.parametrize("deadline", [math.nan, math.inf, -math.inf])
def test_a_deadline_that_is_no_number_is_past(log, fleet, deadline):
    """An entry that carries one is settled like any other, and the log says why."""
    log.read(set_entry(deadline=deadline), 2, 1000.0, 0.0)
    (settled,) = due(log, fleet)
    assert settled.outcomes[0].reason == f"its deadline is no time: {deadline:g}"
    settle(log, settled)
    assert due(log, fleet) == []


def test_of_lives_without_number_the_last_are_shown(log):
    """A replica that starts over and over adds no end of outcomes; the other keeps its own."""
    life = log.read(set_entry(), 2, 1000.0, 0.0)
    log.decided(outcome("e1", replica="rank-1", adopted=True))
    for number in range(100):
        assert log.decided(outcome("e1", incarnation=f"life-{number}", adopted=True)) is life
    shown = [(one.replica, one.incarnation) for one in life.update().outcomes]
    assert shown == [("rank-1", "a"), *(("rank-0", f"life-{number}") for number in range(84, 100))]

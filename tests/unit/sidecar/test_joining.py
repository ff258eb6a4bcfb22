"""What a replica adopts and is delivered when its job has a log already."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weavelet.messages import (
    Act,
    Begin,
    Entry,
    Freeze,
    Notice,
    Outcome,
    Pause,
    Resume,
    Set,
    Settled,
    Stop,
    Unfreeze,
)
from weavelet.sidecar.joining import Logged, concerns, plan

ME, OTHER = "rank-0", "rank-1"
NOW = 1000.0


class Log:
    """A job's control log in the making."""

    def __init__(self):
        self.logged = [Logged(1, Entry(id="begin", author="weaver", body=Begin()))]

    def add(self, body, *, expires=None, **fields):
        sequence = len(self.logged) * 3 + 1
        entry = Entry(id=f"e{sequence}", author="a", body=body, **fields)
        self.logged.append(Logged(sequence, entry, expires))
        return self.logged[-1]

    def settle(self, logged, *, order=0, **kinds):
        """The end of an entry; `me` and `other` are kinds of outcomes."""
        names = {"me": ME, "other": OTHER}
        outcomes = tuple(
            Outcome(
                entry=logged.entry.id,
                sequence=logged.sequence,
                replica=names[who],
                incarnation="i",
                kind=kind,
                order=order,
            )
            for who, kind in kinds.items()
        )
        return self.add(Settled(logged.entry.id, logged.sequence, outcomes))

    def plan(self, **options):
        return plan(self.logged, ME, NOW, epoch="e", **options)

    @property
    def tail(self):
        return self.logged[-1].sequence


@pytest.fixture
def log():
    return Log()


def adopted(made):
    """The entries that are adopted, as (id, sequence)."""
    return tuple((one.entry, one.sequence) for one in made.adopt.sets)


def sequences(items):
    return [logged.sequence for logged in items]


def test_an_empty_log_asks_for_nothing():
    """A job's first replica joins with an empty plan."""
    nothing = plan([], ME, NOW, epoch="e")
    assert (nothing.adopt.values, adopted(nothing), nothing.deliver) == ({}, (), ())
    assert (nothing.adopt.position.epoch, nothing.adopt.position.sequence) == ("e", 0)


def test_applied_sets_are_folded_in_order(log):
    """The last value of each control is adopted, in one transaction, with all entries named."""
    first = log.add(Set({"lr": 0.1, "gain": 1}))
    log.settle(first, me="applied")
    second = log.add(Set({"lr": 0.2}))
    log.settle(second, me="applied", other="failed")
    made = log.plan()
    assert made.adopt.values == {"lr": 0.2, "gain": 1}
    assert adopted(made) == ((first.entry.id, 4), (second.entry.id, second.sequence))
    assert made.deliver == ()
    assert made.adopt.position.sequence == log.tail


@pytest.mark.parametrize("kind", ["rejected", "failed", "expired", "skipped", "unknown"])
def test_what_was_not_applied_is_not_adopted(log, kind):
    """Rejected, rolled back or never decided: the value never held, and is not taken over."""
    log.settle(log.add(Set({"lr": 0.1})), me=kind, other="applied")
    assert log.plan().adopt.values == {}


def test_a_late_replica_adopts_what_holds_for_the_whole_job(log):
    """What others applied when this one was not there is taken over, unless it was theirs alone."""
    log.settle(log.add(Set({"lr": 0.1})), other="applied")
    log.settle(log.add(Set({"gain": 2}), targets=(OTHER,)), other="applied")
    log.settle(log.add(Set({"depth": 3})), other="rejected")
    assert log.plan().adopt.values == {"lr": 0.1}


def test_the_last_word_on_an_entry_counts(log):
    """A later Settled replaces an earlier one."""
    entry = log.add(Set({"lr": 0.1}))
    log.settle(entry, me="unknown")
    log.settle(entry, me="applied")
    assert log.plan().adopt.values == {"lr": 0.1}


@pytest.mark.parametrize("adopt", ["none", "checkpoint"])
def test_adopting_can_be_declined(log, adopt):
    """Then nothing of the past is taken over, and what is open is delivered all the same."""
    log.settle(log.add(Set({"lr": 0.1})), me="applied")
    waiting = log.add(Set({"lr": 0.2}))
    made = log.plan(adopt=adopt)
    assert (made.adopt.values, adopted(made)) == ({}, ())
    assert sequences(made.deliver) == [waiting.sequence]


def test_actions_stops_and_pauses_of_the_past_are_not_run_again(log):
    """What is settled and no Set leaves no trace."""
    for body in (Act("save"), Stop(), Pause(), Resume(), Notice("x")):
        log.settle(log.add(body), me="applied")
    made = log.plan()
    assert (adopted(made), made.deliver) == ((), ())


def test_what_is_open_is_delivered_as_it_stands(log):
    """Not yet settled: delivered with its deadline, which the trainer looks at."""
    waiting = log.add(Set({"lr": 0.1}, {"lr": 0.5}), expires=NOW - 1, at_step=7, deadline=60.0)
    made = log.plan()
    assert made.deliver == (waiting,)
    assert made.adopt.position.sequence == waiting.sequence - 1


@pytest.mark.parametrize(
    ("body", "addressed", "earlier"),
    [
        (Act("save"), (ME,), True),
        (Stop(), (ME, OTHER), True),
        (Pause(), (ME,), True),
        (Act("save"), (OTHER,), False),
        (Stop(), (), False),
        (Resume(), (ME,), False),
        (Set({"lr": 0.1}), (ME,), False),
    ],
)
def test_what_an_earlier_life_may_have_begun_is_marked(log, body, addressed, earlier):
    """An open entry that was addressed to this replica before it joined may have been begun."""
    log.add(body, addressed=addressed)
    (delivered,) = log.plan().deliver
    assert delivered.earlier is earlier


def test_what_an_earlier_life_died_in_is_offered_within_its_deadline(log):
    """Unknown here: delivered, marked, as long as it is in time; without a deadline never."""
    fresh = log.add(Act("save"), expires=NOW + 1)
    late = log.add(Act("save"), expires=NOW - 1)
    endless = log.add(Act("save"))
    elsewhere = log.add(Act("save"), expires=NOW + 1)
    for each in (fresh, late, endless):
        log.settle(each, me="unknown", other="applied")
    log.settle(elsewhere, me="applied", other="unknown")
    (delivered,) = log.plan().deliver
    assert (delivered.sequence, delivered.earlier) == (fresh.sequence, True)


def test_an_older_open_set_does_not_undo_a_newer_applied_one(log):
    """The newer one is delivered behind it, without the conditions it has met already."""
    older = log.add(Set({"lr": 0.1}))
    newer = log.add(Set({"lr": 0.2, "gain": 2}, {"lr": 0.1}), at_step=3, expires=NOW - 9)
    other = log.add(Set({"depth": 4}))
    last = log.add(Set({"gain": 3}))
    for each in (newer, other, last):
        log.settle(each, me="applied")
    made = log.plan()
    assert made.adopt.values == {"depth": 4}
    assert sequences(made.deliver) == [older.sequence, newer.sequence, last.sequence]
    again = made.deliver[1]
    assert again.entry.body == Set({"lr": 0.2, "gain": 2})
    assert (again.entry.at_step, again.expires, again.earlier) == (None, None, False)


@pytest.mark.parametrize("body", [Begin(), Freeze(), Unfreeze(), Settled("x", 1)])
def test_what_is_between_weaver_and_log_concerns_no_replica(body):
    """Such entries are never delivered."""
    assert not concerns(Entry(id="e", author="a", body=body), ME)


def test_targets_say_whom_an_entry_concerns():
    """No target is everybody."""
    for targets, concerned in [((), True), ((ME, OTHER), True), ((OTHER,), False)]:
        assert concerns(Entry(id="e", author="a", body=Stop(), targets=targets), ME) is concerned


# Any log at all.

kinds = st.sampled_from(["applied", "rejected", "failed", "expired", "skipped", "unknown"])
bodies = st.one_of(
    st.builds(
        Set,
        st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), min_size=1),
        dry_run=st.just(False),
    ),
    st.builds(Act, st.just("save")),
    st.sampled_from([Pause(), Resume(), Stop(), Freeze()]),
)
entries = st.tuples(
    bodies,
    st.sampled_from([(), (ME,), (OTHER,), (ME, OTHER)]),
    st.sampled_from([None, NOW - 5, NOW + 5]),
    st.none() | st.fixed_dictionaries({}, optional={"me": kinds, "other": kinds}),
    st.booleans(),
)


@st.composite
def logs(draw):
    """A log whose entries are settled at once, later, or never."""
    log = Log()
    later = []
    for body, targets, expires, outcomes, at_once in draw(st.lists(entries, max_size=8)):
        logged = log.add(body, targets=targets, expires=expires)
        if outcomes is not None:
            if at_once:
                log.settle(logged, **outcomes)
            else:
                later.append((logged, outcomes))
    for logged, outcomes in later:
        log.settle(logged, **outcomes)
    return log


def ends(log):
    """The outcomes by replica of each settled entry."""
    return {
        logged.entry.body.entry: {o.replica: o.kind for o in logged.entry.body.outcomes}
        for logged in log.logged
        if isinstance(logged.entry.body, Settled)
    }


def holds(logged, end):
    """Whether a settled Set is in force for this replica."""
    if ME in end:
        return end[ME] == "applied"
    return not logged.entry.targets and "applied" in end.values()


@given(logs())
def test_the_plan_of_any_log_is_sound(log):
    """Each entry that matters is adopted or delivered, once, in order, and none lies before."""
    made = log.plan()
    settled = ends(log)
    taken = [sequence for _, sequence in adopted(made)]
    delivered = sequences(made.deliver)
    by_sequence = {logged.sequence: logged for logged in log.logged}
    assert taken == sorted(set(taken))
    assert delivered == sorted(set(delivered))
    assert set(taken).isdisjoint(delivered)
    assert all(sequence > made.adopt.position.sequence for sequence in delivered)
    assert all(concerns(by_sequence[sequence].entry, ME) for sequence in taken + delivered)
    folded = {}
    for sequence in taken:
        folded.update(by_sequence[sequence].entry.body.values)
    assert made.adopt.values == folded
    for logged in log.logged:
        end = settled.get(logged.entry.id)
        if not concerns(logged.entry, ME):
            continue
        if end is None:
            assert logged.sequence in delivered
        elif isinstance(logged.entry.body, Set) and holds(logged, end):
            assert logged.sequence in taken + delivered
        elif end.get(ME) != "unknown":
            assert logged.sequence not in taken + delivered


@given(logs())
def test_a_replica_ends_with_what_the_order_of_the_log_says(log):
    """Adopting, then doing what is delivered, gives the fold of all Sets that hold or are open."""
    made = log.plan()
    settled = ends(log)
    got = dict(made.adopt.values)
    for logged in made.deliver:
        if isinstance(logged.entry.body, Set):
            got.update(logged.entry.body.values)
    delivered = set(sequences(made.deliver))
    expected = {}
    for logged in log.logged:
        if isinstance(logged.entry.body, Set) and concerns(logged.entry, ME):
            end = settled.get(logged.entry.id)
            if end is None or holds(logged, end) or logged.sequence in delivered:
                expected.update(logged.entry.body.values)
    assert got == expected


def test_the_whole_log_holds_what_other_replicas_are_asked(log):
    """Ranks decide it together: what was applied is adopted with its targets, order and step."""
    done = log.add(Set({"lr": 0.5}), targets=(OTHER,), addressed=(OTHER,), at_step=7)
    log.settle(done, other="applied", order=3)
    failed = log.add(Set({"lr": 0.6}), targets=(OTHER,), addressed=(OTHER,))
    log.settle(failed, other="failed", order=4)
    waiting = log.add(Set({"lr": 0.7}), targets=(OTHER,), addressed=(OTHER,))
    made = log.plan(whole_log=True)
    (one,) = made.adopt.sets
    assert (one.entry, one.order, one.at_step, one.targets) == (done.entry.id, 3, 7, (OTHER,))
    assert sequences(made.deliver) == [waiting.sequence]
    assert log.plan().adopt.sets == log.plan().deliver == ()


def test_what_one_rank_applied_holds_for_all_of_them(log):
    """The leader's own outcome may be lost with its life; alone it would not adopt that."""
    done = log.add(Set({"lr": 0.5}), addressed=(ME, OTHER), expires=NOW - 1)
    log.settle(done, me="unknown", other="applied", order=3)
    (one,) = log.plan(whole_log=True).adopt.sets
    assert (one.entry, one.order, one.own) == (done.entry.id, 3, False)
    assert log.plan().adopt.sets == ()


def test_the_order_of_an_applied_set_is_that_of_its_commit(log):
    """Not of a later life's failure to take it over."""
    done = log.add(Set({"lr": 0.5}), addressed=(ME, OTHER))
    outcomes = tuple(
        Outcome(
            entry=done.entry.id,
            sequence=done.sequence,
            replica=replica,
            incarnation="i",
            kind=kind,
            order=order,
        )
        for replica, kind, order in ((ME, "applied", 3), (OTHER, "failed", 8))
    )
    log.add(Settled(done.entry.id, done.sequence, outcomes))
    assert [one.order for one in log.plan(whole_log=True).adopt.sets] == [3]


def test_what_was_committed_after_an_undecided_one_is_adopted_by_ranks(log):
    """Their commits have an order; alone it is delivered, or the older value would win."""
    waiting = log.add(Set({"lr": 0.1}), at_step=90)
    done = log.add(Set({"lr": 0.5}))
    log.settle(done, me="applied", other="applied", order=1)
    made = log.plan(whole_log=True)
    assert [(one.entry, one.own) for one in made.adopt.sets] == [(done.entry.id, False)]
    assert sequences(made.deliver) == [waiting.sequence, done.sequence]
    assert log.plan().adopt.sets == ()


@pytest.mark.parametrize("body", [Act("save"), Stop()])
def test_what_another_rank_may_have_begun_is_begun(log, body):
    """The leader decides what is for others, too, and must not have it done again."""
    log.add(body, targets=(OTHER,), addressed=(OTHER,))
    (given,) = log.plan(whole_log=True).deliver
    assert (given.earlier, given.begun) == (False, True)


def test_what_another_rank_died_in_is_decided_by_the_leader(log):
    """A Set for that rank alone, within its deadline."""
    died = log.add(Set({"lr": 0.5}), targets=(OTHER,), addressed=(OTHER,), expires=NOW + 9)
    log.settle(died, other="unknown")
    assert sequences(log.plan(whole_log=True).deliver) == [died.sequence]
    assert log.plan().deliver == ()

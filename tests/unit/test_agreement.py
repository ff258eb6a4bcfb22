"""The same step on every rank: decisions, votes, pauses, leaving, and a thousand simulated jobs."""

from __future__ import annotations

import logging
import re

import pytest

from harness.circle import Circle
from harness.ranks import MemoryStore, World
from weavelet.adoption import Committed, Past, fold
from weavelet.keystore import Add, Claim, Delete, Put, Read, Sleep, TorchStore, drive
from weavelet.messages import Act, Deliver, Entry, Pause, Position, Resume, Set, Stop
from weavelet.planning import Planner

SHARES = 4


@pytest.mark.parametrize("share", range(SHARES))
def test_simulated_jobs_hold_every_invariant(share, sized, figure, caplog):
    """No order of events, no dead, frozen or slow rank and no restart makes ranks disagree."""
    caplog.set_level(logging.CRITICAL, "weavelet")
    seeds = range(share, sized(1600, 120_000), SHARES)
    lives = entries = 0
    for seed in seeds:
        world = World(seed).run()
        lives += world.life.number + 1
        entries += len(world.entries)
    figure(f"{len(seeds):,} jobs with {lives:,} lives and {entries:,} entries, all invariants held")


# Steps.


def test_an_entry_is_applied_at_the_same_step_everywhere():
    """All ranks come to the same outcome at the same step, and hold the same values."""
    circle = Circle()
    circle.poll(10)
    circle.submit(Set({"lr": 0.5}))
    circle.poll(40)
    assert len({tuple(rank.outcomes) for rank in circle.ranks}) == 1
    ((_, kind, step),) = circle.leader.outcomes
    assert kind == "applied"
    assert 10 < step < 50
    assert {rank.values["lr"] for rank in circle.ranks} == {0.5}
    assert circle.leader.last.changes[0].old == 0.1


def test_boundaries_are_half_a_second_apart():
    """With steps of 20 ms there is a boundary every 25 steps, and most polls ask nothing."""
    circle = Circle(2, seconds=0.02)
    circle.poll(200)
    circle.requests = 0
    circle.poll(250)
    assert circle.leader.agreement._leader.planner.spacing == 25
    assert circle.requests <= 10 * 4


def test_a_command_is_applied_within_a_spacing_and_two_steps():
    """From command to applied it takes half a spacing and the lead on average, never more."""
    circle = Circle(2, seconds=0.02)
    circle.poll(200)
    latencies = []
    for offset in range(40):
        circle.poll(50 + offset)
        issued = circle.step
        circle.submit(Set({"lr": offset}))
        circle.poll(30)
        latencies.append(circle.leader.outcomes[-1][2] - issued)
    assert max(latencies) <= 25 + 2 + 1
    assert 11 <= sum(latencies) / len(latencies) <= 17


def test_a_scheduled_entry_gets_a_boundary_on_its_own_step():
    """`--at-step` holds to the step, between two boundaries and with steps that jump."""
    circle = Circle()
    circle.poll(200)
    circle.submit(Set({"lr": 0.5}), at_step=331)
    circle.submit(Set({"wd": 0.5}), at_step=332)
    circle.poll(150)
    assert [step for *_, step in circle.ranks[1].outcomes] == [331, 332]
    assert [kind for _, kind, _ in circle.ranks[1].outcomes] == ["applied", "applied"]


def test_a_step_that_is_too_near_is_late_and_says_so():
    """A scheduled entry whose step comes before the next boundary is applied there."""
    circle = Circle()
    circle.poll(200)
    circle.submit(Set({"lr": 0.5}), at_step=circle.step + 1)
    circle.poll(40)
    assert circle.leader.outcomes[0][1] == "applied"
    assert circle.leader.outcomes[0][2] > 201
    assert "came before the ranks could agree" in circle.leader.last.reason


def test_a_passed_step_is_rejected_everywhere():
    """What was scheduled for a step that is over is rejected on all ranks, without a vote."""
    circle = Circle()
    circle.poll(100)
    circle.submit(Set({"lr": 0.5}), at_step=7)
    circle.poll(40)
    assert [rank.last.kind for rank in circle.ranks] == ["rejected"] * 3
    assert "step 7 has passed" in circle.ranks[2].last.reason


def test_the_same_step_polled_again_is_no_tick():
    """Ranks may poll a step as often as they like."""
    circle = Circle(2)
    circle.poll(1)
    for _ in range(20):
        assert not circle.leader.agreement.tick(circle.step)
    circle.submit(Set({"lr": 0.5}))
    circle.poll(40)
    assert [rank.last.kind for rank in circle.ranks] == ["applied"] * 2


def test_a_rank_at_another_step_is_named_and_ends_agreement():
    """The votes prove the step: who is ahead is named, nothing is applied, and nothing is left."""
    circle = Circle(4)
    circle.poll(50)
    circle.submit(Set({"lr": 0.5}))
    while not circle.leader.endings:
        circle.step += 1
        circle.now += circle.seconds
        programs = [
            rank.agreement.poll()
            for rank in circle.ranks
            if rank.agreement.tick(circle.step + 7 * (rank.rank == 2))
        ]
        circle.drive(programs)
    told = r"rank 2 at step (\d+), while rank 0, 1, 3 at step (\d+)"
    ahead, others = map(int, re.fullmatch(told, circle.leader.last.reason).groups())
    assert ahead == others + 7
    assert {rank.agreement.off for rank in circle.ranks} == {circle.leader.last.reason}
    assert {rank.values["lr"] for rank in circle.ranks} == {0.1}
    assert not [key for key in circle.store.data if "/at/" in key or "/s/" in key]


def test_a_rank_that_leaves_before_a_boundary_is_not_waited_for():
    """Patience is not spent on a rank that is known to be out."""
    circle = Circle(3, patience=300.0)
    circle.poll(50)
    circle.submit(Set({"lr": 0.5}))
    rest = circle.ranks[:2]
    while circle.leader.agreement._boundary > circle.leader.agreement._tick + 1:
        circle.poll(1)
    circle.leave(circle.ranks[2], "it crashed")
    before = circle.now
    circle.poll(3, ranks=rest)
    assert circle.now - before < 1
    assert all("rank 2 is out (it crashed)" in rank.agreement.off for rank in rest)


def test_after_a_stop_commands_are_refused_at_once():
    """Nobody decides them any more, however long training takes to end."""
    circle = Circle()
    circle.submit(Stop())
    circle.poll(60)
    circle.submit(Set({"lr": 0.5}))
    for rank in circle.ranks:
        assert (rank.last.kind, rank.last.reason) == ("rejected", "this job was told to stop")


# Votes.


def test_one_refusal_is_a_refusal_of_all():
    """Nobody touches anything, and everybody is told which rank refused and why."""
    circle = Circle()
    circle.ranks[2].refuses = "lr: too large here"
    circle.submit(Set({"lr": 50.0}))
    circle.poll(10)
    assert {rank.last.reason for rank in circle.ranks} == {"rank 2: lr: too large here"}
    assert [rank.last.kind for rank in circle.ranks] == ["rejected"] * 3


def test_one_failure_is_set_back_everywhere():
    """A handler that raises on one rank leaves the old values on all of them."""
    circle = Circle()
    circle.ranks[1].fails = "ValueError: no"
    circle.submit(Set({"lr": 50.0}))
    circle.poll(10)
    assert [rank.last.kind for rank in circle.ranks] == ["failed"] * 3
    assert "rank 1: ValueError: no; set back on all ranks" in circle.leader.last.reason
    assert {rank.values["lr"] for rank in circle.ranks} == {0.1}


def test_an_action_runs_on_the_ranks_that_it_names():
    """Only those named have an outcome, each with its own result."""
    circle = Circle()
    circle.submit(Act("evaluate"), targets=("rank-1", "rank-2"))
    circle.submit(Act("evaluate"))
    circle.poll(10)
    assert [len(rank.endings) for rank in circle.ranks] == [1, 2, 2]
    assert [rank.last.result for rank in circle.ranks] == ["from 0", "from 1", "from 2"]


def test_a_pause_is_for_all_ranks():
    """A stop or a pause of some ranks would leave the others in their collective."""
    circle = Circle()
    circle.submit(Pause(), targets=("rank-1",))
    circle.poll(10)
    assert circle.ranks[1].last.kind == "rejected"
    assert "pause is for all ranks" in circle.ranks[1].last.reason


def test_a_stop_is_at_the_same_step_on_all_ranks():
    """All ranks stop at the step at which all have voted for it."""
    circle = Circle()
    circle.poll(5)
    circle.submit(Stop("enough"))
    circle.poll(20)
    assert [rank.agreement.stop for rank in circle.ranks] == [Stop("enough")] * 3
    assert len({rank.outcomes[0] for rank in circle.ranks}) == 1


def test_an_expired_entry_is_expired_everywhere():
    """The leader's clock decides; a resume comes never too late."""
    circle = Circle()
    circle.poll(20)
    circle.submit(Set({"lr": 0.5}), deadline=1.0, expires=circle.now - 0.1)
    circle.submit(Resume(), deadline=1.0, expires=circle.now - 0.1)
    circle.poll(60)
    assert [kind for _, kind, _ in circle.ranks[2].outcomes] == ["expired", "applied"]


def test_actions_of_an_earlier_life_are_unknown():
    """What an earlier life may have begun is not run again, but a Set is applied."""
    circle = Circle()
    for body in (Act("evaluate"), Stop(), Set({"lr": 0.5})):
        circle.submit(body, begun=True)
    circle.poll(10)
    assert [kind for _, kind, _ in circle.ranks[1].outcomes] == ["unknown", "unknown", "applied"]


def test_only_the_leader_needs_its_sidecar():
    """Other ranks hear of an entry by the decision, and are not confused if it comes later."""
    circle = Circle()
    identifier = circle.submit(Set({"lr": 0.5}), to=[circle.leader])
    circle.poll(10)
    entry = Entry(id=identifier, author="op", body=Set({"lr": 0.5}))
    circle.ranks[2].agreement.submit(Deliver(entry, Position("e", 1)))
    circle.leave(circle.ranks[2])
    assert [rank.last.kind for rank in circle.ranks] == ["applied"] * 3
    assert len(circle.ranks[2].endings) == 1


# Pause.


def test_a_pause_holds_all_ranks_at_one_step():
    """While paused, commands are applied at that very step, and a resume lets all go on."""
    circle = Circle()
    circle.while_paused = [
        lambda: circle.submit(Set({"lr": 0.5})),
        lambda: circle.submit(Resume()),
    ]
    circle.submit(Pause())
    circle.poll(20)
    steps = {step for rank in circle.ranks for *_, step in rank.outcomes}
    assert len(steps) == 1
    assert not any(rank.agreement.paused for rank in circle.ranks)
    circle.submit(Set({"lr": 0.7}))
    circle.poll(40)
    assert {rank.last.kind for rank in circle.ranks} == {"applied"}


def test_a_lease_ends_by_itself():
    """A pause with a lease goes on after it, however long patience is."""
    circle = Circle(patience=1.0)
    circle.submit(Pause(lease=20.0))
    circle.poll(5)
    assert circle.now > 20.0
    assert circle.step == 4
    assert circle.leader.agreement.off is None


def test_a_rank_that_leaves_ends_a_pause():
    """Nobody stays paused for a rank that is gone."""
    circle = Circle(2)
    circle.while_paused = [lambda: circle.leave(circle.ranks[1], "Ctrl-C")]
    circle.submit(Pause())
    circle.poll(5)
    assert "rank 1 is out (Ctrl-C)" in circle.leader.agreement.off


# Leaving.


def test_commands_after_the_end_are_refused_with_its_reason():
    """A rank that has left is named in the answer to whatever comes after."""
    circle = Circle()
    circle.poll(10)
    circle.leave(circle.ranks[1], "the end of its data")
    rest = [circle.leader, circle.ranks[2]]
    circle.submit(Set({"lr": 0.5}), to=rest)
    circle.poll(40, ranks=rest)
    for rank in rest:
        assert rank.last.kind == "rejected"
        assert "rank 1 is out (the end of its data)" in rank.last.reason
    circle.submit(Set({"lr": 0.6}), to=rest)
    assert [rank.last.kind for rank in rest] == ["rejected"] * 2
    assert {rank.values["lr"] for rank in circle.ranks} == {0.1}


def test_the_leader_leaves_word():
    """When the leader leaves, the others go on without waiting."""
    circle = Circle()
    circle.poll(10)
    circle.leave(circle.leader, "the end of training")
    before = circle.now
    circle.poll(60, ranks=circle.ranks[1:])
    assert {rank.agreement.off for rank in circle.ranks[1:]} == {"rank 0 left: the end of training"}
    assert circle.now - before < 2


def test_a_leader_interrupted_while_ranks_join_leaves_word():
    """Who has joined already hears that rank 0 is gone, and does not wait for its decision."""
    circle = Circle(patience=300.0)
    for rank in circle.ranks:
        rank.agreement.tick(0)
    joining, joined = circle.leader.agreement.poll(), circle.ranks[1].agreement.poll()
    answers = {joining: None, joined: None}
    for _ in range(50):
        for program, answer in answers.items():
            answers[program] = circle.carry_out(program.send(answer))
    joining.close()
    circle.leave(circle.leader, "interrupted by KeyboardInterrupt")
    before = circle.now
    circle.drive([joined])
    assert circle.ranks[1].agreement.off == "rank 0 left: interrupted by KeyboardInterrupt"
    assert circle.now - before < 2


def test_patience_has_an_end_and_names_whom_it_waited_for(caplog):
    """A rank that polls no more is named after 10 s, and waited for as long as patience lasts."""
    caplog.set_level(logging.WARNING, "weavelet")
    circle = Circle(patience=40.0)
    circle.poll(10)
    circle.submit(Set({"lr": 0.5}))
    rest = [circle.leader, circle.ranks[2]]
    circle.poll(60, ranks=rest)
    assert "waiting for the vote of rank 1 on entry x1" in caplog.text
    for rank in rest:
        assert "no vote of rank 1 within 40 s" in rank.agreement.off
        assert rank.last.kind == "rejected"


def test_whom_a_rank_waits_for_is_said_every_ten_seconds(caplog):
    """Not more rarely the longer it takes."""
    caplog.set_level(logging.WARNING, "weavelet")
    circle = Circle(2, patience=65.0)
    circle.poll(10)
    circle.submit(Set({"lr": 0.5}))
    circle.poll(60, ranks=[circle.leader])
    waits = [one for one in caplog.messages if one.startswith("step") and "rank 1" in one]
    assert len(waits) == 6


def test_a_rank_in_a_declared_section_is_waited_for():
    """Longer than patience by what the section says, and no longer than that."""
    circle = Circle(2, patience=20.0)
    circle.poll(10)
    circle.drive([circle.ranks[1].agreement.enter_section(100.0)])
    circle.submit(Set({"lr": 0.5}))
    before = circle.now
    circle.poll(60, ranks=[circle.leader])
    assert circle.now - before > 120
    assert "no vote of rank 1 within 120 s" in circle.leader.agreement.off


def test_a_section_that_is_over_is_not_waited_for():
    """What was declared goes with the section."""
    circle = Circle(2, patience=20.0)
    circle.poll(10)
    circle.drive([circle.ranks[1].agreement.enter_section(None)])
    circle.drive([circle.ranks[1].agreement.leave_section()])
    circle.submit(Set({"lr": 0.5}))
    circle.poll(60, ranks=[circle.leader])
    assert "no vote of rank 1 within 20 s" in circle.leader.agreement.off
    assert not [key for key in circle.store.data if "in-section" in key]


def test_a_pause_ends_for_those_whose_leader_is_gone():
    """A leader that shows no sign of life cannot end it; the others go on without agreement."""
    circle = Circle(3, patience=40.0)
    circle.poll(10)
    circle.submit(Pause())
    programs = {}
    while not all(rank.agreement.paused for rank in circle.ranks):
        circle.step += 1
        circle.now += circle.seconds
        for rank in circle.ranks:
            if rank.agreement.tick(circle.step):
                programs[rank.rank] = rank.agreement.poll()
        answers = dict.fromkeys(programs.values())
        for _ in range(2000):
            for program in list(answers):
                try:
                    answers[program] = circle.carry_out(program.send(answers[program]))
                except StopIteration:
                    del answers[program]
    programs.pop(0).close()
    circle.drive([program for rank, program in programs.items() if rank])
    for rank in circle.ranks[1:]:
        assert "no decision by rank 0 within 40 s" in rank.agreement.off or "is out" in (
            rank.agreement.off
        )
        assert not rank.agreement.paused


def test_ranks_that_never_poll_are_named():
    """Without all ranks at the first poll agreement stays off, and says who was missing."""
    circle = Circle(patience=40.0)
    circle.poll(1, ranks=circle.ranks[:2])
    for rank in circle.ranks[:2]:
        assert "1 of 3 ranks never polled within 20 s: rank 2" in rank.agreement.off
    circle.poll(1, ranks=circle.ranks[2:])
    assert "rank 0 did not answer within 20 s" in circle.ranks[2].agreement.off


def test_a_lost_store_is_an_unknown_outcome():
    """Where the store is gone in the middle of an entry, it is set back here and said."""
    circle = Circle(2)
    circle.submit(Set({"lr": 0.5}))
    agreement = circle.leader.agreement
    agreement.tick(0)
    other = circle.ranks[1].agreement
    other.tick(0)
    mine, theirs = agreement.poll(), other.poll()
    answers = {mine: None, theirs: None}
    while circle.leader.values["lr"] == 0.1:
        for program, answer in answers.items():
            answers[program] = circle.carry_out(program.send(answer))
    mine.close()
    agreement.break_off("connection reset")
    assert circle.leader.values["lr"] == 0.1
    assert circle.leader.last.kind == "unknown"
    assert "connection reset" in agreement.off
    # The other one may have kept it: the next life takes over what the log says.
    assert "x1" not in agreement.decided


# The store.


def test_live_keys_are_bounded():
    """However many boundaries there are, only the last groups of them lie in the store."""
    circle = Circle(seconds=0.6)
    most = 0
    for number in range(120):
        circle.submit(Set({"lr": number}))
        circle.poll(5)
        most = max(most, len(circle.store.data))
    assert len(circle.leader.endings) == 120
    assert most < 2 * 16 * 7 + 20


def test_a_lagging_rank_does_not_fill_the_store():
    """The further a rank lags, the rarer boundaries are."""
    circle = Circle(2, seconds=0.6)
    circle.poll(3)
    for _ in range(20_000):
        circle.poll(ranks=[circle.leader])
    assert len(circle.store.data) < 40
    for step in range(3, 20_003):
        if circle.ranks[1].agreement.tick(step):
            circle.drive([circle.ranks[1].agreement.poll()])
    assert circle.ranks[1].agreement.off is None
    circle.poll(20_000)
    circle.submit(Set({"lr": 0.5}))
    circle.poll(2000)
    assert [rank.last.kind for rank in circle.ranks] == ["applied"] * 2
    assert len(circle.store.data) < 200


def test_large_entries_are_spread_over_boundaries():
    """No value in the store is larger than a connection takes."""
    circle = Circle(2, seconds=0.6)
    largest = 0
    for number in range(12):
        circle.submit(Set({"lr": "x" * 900_000, "wd": number}))
    for _ in range(20):
        circle.poll()
        largest = max(largest, *map(len, circle.store.data.values()))
    assert len(circle.leader.endings) == 12
    assert circle.ranks[1].values["wd"] == 11
    assert largest < 4 * 1024 * 1024


def test_a_new_life_does_not_see_the_old_one():
    """In a store with all keys of a dead life the ranks meet afresh."""
    old = Circle()
    old.submit(Set({"lr": 0.5}))
    old.poll(10)
    new = Circle(store=old.store)
    new.poll(20)
    assert [rank.endings for rank in new.ranks] == [[], [], []]
    new.submit(Set({"wd": 0.5}))
    new.poll(40)
    assert {tuple(sorted(rank.values.items())) for rank in new.ranks} == {
        (("clip", 1.0), ("lr", 0.1), ("wd", 0.5))
    }


def test_drive_carries_out_requests():
    """Each request has its answer, and the result of the computation comes out."""
    store, naps = MemoryStore(), []

    def program():
        yield Put("a", b"1")
        yield Sleep(0.5)
        added = yield Add("n", 2)
        claimed = yield Claim("a", b"2")
        missing = yield Read("b")
        yield Delete("a")
        return added, claimed, missing, (yield Read("a"))

    assert drive(program(), store, naps.append) == (2, b"1", None, None)
    assert naps == [Sleep(0.5)]


class FakeTorchStore:
    """Compares and sets as torch.distributed's stores do."""

    def __init__(self):
        self.data = {}

    def compare_set(self, key, expected, desired):
        now = self.data.get(key)
        if now is None and expected:
            return expected.encode()
        if now is None or now == expected.encode():
            self.data[key] = desired if isinstance(desired, bytes) else desired.encode()
        return self.data[key]

    def set(self, key, value):
        self.data[key] = value


def test_reading_a_torch_store_does_not_wait():
    """A missing key is None, and reading it leaves no trace."""
    torch_store = FakeTorchStore()
    store = TorchStore(torch_store)
    assert store.read("a") is None
    assert torch_store.data == {}
    assert store.claim("a", b"1") == b"1"
    assert store.claim("a", b"2") == b"1"
    assert store.read("a") == b"1"


# A new life.


def applied(identifier, sequence, order, values, at_step=None):
    entry = Entry(id=identifier, author="op", body=Set(values), at_step=at_step)
    return Committed(entry, sequence, order)


def past(order):
    return Past("applied", 1, order)


def test_applied_sets_are_folded_in_the_order_of_their_commits():
    """Who committed last holds, whatever the order of the log."""
    late = applied("x1", 1, 5, {"lr": 1}, at_step=3)
    early = applied("x2", 2, 4, {"lr": 2, "wd": 2})
    plan = fold([late, early], {}, step=10)
    assert plan.values.values == {"lr": 1, "wd": 2}
    assert [each.entry for each in plan.adopts] == ["x2", "x1"]
    assert plan.order == 5


def test_what_the_checkpoint_holds_is_not_adopted_and_not_overridden():
    """The decided ones stay out, and still hold against what was committed before them."""
    plan = fold(
        [applied("x1", 1, 1, {"lr": 1, "wd": 1}), applied("x2", 2, 2, {"lr": 2})],
        {"x2": past(2)},
        step=10,
    )
    assert plan.values.values == {"wd": 1}
    assert [each.entry for each in plan.adopts] == ["x1"]


def test_a_scheduled_set_waits_for_its_step_again():
    """It comes with what nothing committed after it has replaced."""
    plan = fold(
        [
            applied("x1", 1, 1, {"lr": 1, "wd": 1}, at_step=100),
            applied("x2", 2, 2, {"lr": 2}),
        ],
        {},
        step=50,
    )
    assert plan.values.values == {"lr": 2}
    (waiting,) = plan.waiting
    assert waiting.entry.body.values == {"wd": 1}


def test_a_new_life_adopts_as_one_transaction_before_anything_else():
    """The fold is applied at one step on all ranks, and its outcomes keep their order."""
    circle = Circle()
    circle.submit(Set({"clip": 9.0}))
    plan = fold([applied("a", 1, 7, {"lr": 1}), applied("b", 2, 8, {"wd": 2})], {}, step=0)
    for rank in circle.ranks:
        rank.agreement.adopt(plan)
    circle.poll(10)
    for rank in circle.ranks:
        first, second = rank.endings
        assert [(each.entry, each.order) for each in first.adopts] == [("a", 7), ("b", 8)]
        assert second.order > 8
        assert rank.values == {"lr": 1, "wd": 2, "clip": 9.0}
        assert {"a", "b"} <= rank.agreement.decided.keys()


def test_what_could_not_be_adopted_is_left_to_the_next_life():
    """A refused fold is told, and not taken for decided."""
    circle = Circle()
    circle.ranks[1].refuses = "lr: unknown control"
    plan = fold([applied("a", 1, 7, {"lr": 1})], {}, step=0)
    for rank in circle.ranks:
        rank.agreement.adopt(plan)
    circle.poll(10)
    assert [rank.last.kind for rank in circle.ranks] == ["rejected"] * 3
    assert "a" not in circle.leader.agreement.decided


def test_what_the_checkpoint_holds_is_told_again_and_not_done_again():
    """An outcome that was lost with a life is told from the checkpoint by the next one."""
    circle = Circle(past={"x1": Past("applied", 3, 4, None)})
    circle.submit(Set({"lr": 0.5}))
    circle.poll(10)
    for rank in circle.ranks:
        assert rank.outcomes == [("x1", "applied", 3)]
        assert rank.values["lr"] == 0.1


def test_the_spacing_doubles_at_most():
    """However fast training gets, the next boundary is at most twice as far as the last."""
    planner = Planner(0.5, 0)
    spacings = []
    for tick in range(10):
        planner.moved(tick, tick)
        planner.measure(tick * 1e-6)
        spacings.append(planner.spacing)
    assert spacings == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    planner.moved(10, 10)
    planner.measure(100.0)
    assert planner.spacing == 1

"""The simulation finds what is wrong: agreement with one rule left out breaks within 700 seeds."""

from __future__ import annotations

import logging

import msgspec
import pytest

from harness.ranks import BrokenError, World
from weavelet import adoption, agreement, leading
from weavelet.agreement import Agreement
from weavelet.decisions import Keys, decode_items, encode
from weavelet.keystore import Add, Put, Read
from weavelet.leading import Leader
from weavelet.messages import Stop
from weavelet.planning import Planner
from weavelet.transaction import Verdict
from weavelet.voting import REFUSED, Ruling, Transaction
from weavelet.waiting import Wait

SEEDS = 700

_fold, _judge = adoption.fold, Transaction._judge
_vote, _carry_out, _count = Transaction._vote, Transaction.carry_out, Transaction._count


def no_fresh_namespace(patch):
    """All lives use the same keys."""
    patch.setattr(agreement, "Keys", lambda namespace: Keys("always-the-same"))


def no_echo(patch):
    """The leader's answer does not name the incarnation that it answers."""
    patch.setattr(Keys, "open", staticmethod(lambda incarnation: "open"))
    patch.setattr("weavelet.meeting.Delete", Read)


def plain_set_as_verdict(patch):
    """Whoever comes to a verdict writes it over another's."""

    def claim(self, ruling):
        yield Put(f"{self._base}/{self._round}/verdict", encode(ruling))
        return ruling

    patch.setattr(Transaction, "_claim", claim)


def leaving_without_claim(patch):
    """Who is interrupted sets back without asking what the others come to."""

    def abandon(self, reason):
        return self._judge(Ruling("lost", reason))
        yield

    patch.setattr(Transaction, "abandon", abandon)


def giving_up_without_claim(patch):
    """Whose patience ends sets back without asking what the others come to."""

    def claim(self, ruling):
        if ruling.kind == "lost":
            return ruling
        return (yield from original(self, ruling))

    original = Transaction._claim
    patch.setattr(Transaction, "_claim", claim)


def early_spacing(patch):
    """The leader uses a new spacing for the interval that it has announced already."""

    def eager(self):
        leader = self._leader
        if leader is not None and leader._written == self._index and not leader._held:
            before = leader.planner.spacing
            leader.planner.measure(self._clock())
            early = self._boundary - before + leader.planner.spacing
            if early > self._tick:
                self._boundary = leader.announced = early
        yield from poll(self)

    poll = Agreement.poll
    patch.setattr(Agreement, "poll", eager)
    patch.setattr(Leader, "wake", 0)


def no_patience(patch):
    """Nobody gives up."""
    patch.setattr(Wait, "over", False)


def no_validation_vote(patch):
    """Each rank goes by its own validation."""

    def vote(self, refusal, token=None):
        if self._round == "a":
            return Ruling("yes") if refusal is None else Ruling("no", refusal)
        return (yield from _vote(self, refusal, token))

    patch.setattr(Transaction, "_vote", vote)


def unvoted_stop(patch):
    """A stop happens as soon as it is read."""

    def carry_out(self):
        if isinstance(self._entry.body, Stop):
            return Verdict("applied")
        return (yield from _carry_out(self))

    patch.setattr(Transaction, "carry_out", carry_out)


def deletion_on_a_schedule(patch):
    """The leader removes a group when the second one after it begins."""

    def begin_group(self, group):
        self._group = []
        for old in range(self._oldest, group - 1):
            yield from self._forget(old)
        self._oldest = max(self._oldest, group - 1)

    patch.setattr(Leader, "_begin_group", begin_group)


def no_proof_of_step_and_history(patch):
    """The votes of ranks at different steps count together."""
    patch.setattr(Transaction, "token", lambda self: f"{self._base}/s")


def reason_after_the_vote(patch):
    """A refusing rank votes first and then says why."""

    def vote(self, refusal, token=None):
        if token is not None:
            yield Add(token)
        votes = yield Add(f"{self._base}/{self._round}", 1 + (REFUSED if refusal else 0))
        if votes % REFUSED == self._seat.ranks:
            ruling = yield from self._count(votes // REFUSED, token)
            ruling = yield from self._claim(ruling)
        else:
            ruling = yield from self._await()
        if refusal is not None:
            yield Put(f"{self._base}/no/{self._seat.rank}", refusal.encode())
        return ruling

    patch.setattr(Transaction, "_vote", vote)


def steps_counted_too_early(patch):
    """The last voter goes by what its own addition to the step's counter said."""

    def vote(self, refusal, token=None):
        self.alike = (yield Add(token)) if token is not None else self._seat.ranks
        return (yield from _vote(self, refusal, None))

    def count(self, refusals, token):
        if refusals or self.alike == self._seat.ranks:
            return (yield from _count(self, refusals, token))
        return Ruling("no", "not alike")

    patch.setattr(Transaction, "_vote", vote)
    patch.setattr(Transaction, "_count", count)


def no_undo(patch):
    """What was done stays although another rank failed."""

    def judge(self, ruling):
        self._ran = False
        return _judge(self, ruling)

    patch.setattr(Transaction, "_judge", judge)


def patience_while_paused(patch):
    """A pause ends agreement after a while."""
    find = Agreement._find

    def impatient(self):
        self.paused = False
        return (yield from find(self))

    patch.setattr(Agreement, "_find", impatient)


def pause_does_not_hold(patch):
    """The boundary after a pause is announced as if there were none."""

    def next_tick(self, tick, *, paused, items):
        return leading.NEVER if self.closing is not None else self.planner.next_after(tick)

    patch.setattr(Leader, "_next_tick", next_tick)


def every_poll_is_a_tick(patch):
    """The same step polled again counts."""

    def tick(self, step):
        self._step = step
        self._tick += 1
        if self._leader is not None:
            self._leader.planner.moved(self._tick, step)
        return self._tick >= self._wake

    patch.setattr(Agreement, "tick", tick)


def actions_of_earlier_lives(patch):
    """What an earlier life may have begun is begun again."""
    answer = Planner._answer

    def forgetful(self, message, now):
        return answer(self, msgspec.structs.replace(message, begun=False), now)

    patch.setattr(Planner, "_answer", forgetful)


def folded_in_the_order_of_the_log(patch):
    """A new life takes over what was applied in the order in which it was commanded."""

    def fold(applied, decided, step):
        by_log = [msgspec.structs.replace(each, order=each.sequence) for each in applied]
        order = max((each.order for each in applied), default=0)
        return msgspec.structs.replace(_fold(by_log, decided, step), order=order)

    patch.setattr(adoption, "fold", fold)


def scheduled_ones_folded(patch):
    """A new life takes over what was scheduled for a step that is still to come."""
    patch.setattr(adoption, "fold", lambda applied, decided, step: _fold(applied, decided, 1 << 40))


def checkpoint_ignored(patch):
    """A new life takes over again what its checkpoint holds."""
    patch.setattr(adoption, "fold", lambda applied, decided, step: _fold(applied, {}, step))


def adopted_without_order(patch):
    """A new life begins to number what is decided from its checkpoint's number."""

    def fold(applied, decided, step):
        return msgspec.structs.replace(_fold(applied, decided, step), order=0)

    patch.setattr(adoption, "fold", fold)


def scheduled_too_early(patch):
    """A scheduled entry goes to the boundary before its step."""
    patch.setattr(Planner, "_tick_of", lambda self, message: 0)


def decision_before_its_items(patch):
    """The decision is there before what it decides."""

    def items(self, decision):
        data = (yield Read(self._seat.keys.items(decision.index))) if decision.items else None
        return [] if data is None else decode_items(data)

    late = {}

    def write(self, *, paused):
        index = self._written
        for request in original(self, paused=paused):
            if isinstance(request, Put) and request.key == self._seat.keys.items(index):
                late[index] = request
                continue
            yield request
        if index in late:
            yield late.pop(index)

    original = Leader._write
    patch.setattr(Agreement, "_items", items)
    patch.setattr(Leader, "_write", write)


MUTANTS = {
    no_fresh_namespace: 6,
    no_echo: 0,
    plain_set_as_verdict: 9,
    leaving_without_claim: 22,
    giving_up_without_claim: 9,
    early_spacing: 7,
    no_patience: 6,
    no_validation_vote: 17,
    unvoted_stop: 29,
    deletion_on_a_schedule: 109,
    no_proof_of_step_and_history: 124,
    reason_after_the_vote: 5,
    steps_counted_too_early: 17,
    no_undo: 6,
    patience_while_paused: 32,
    pause_does_not_hold: 32,
    every_poll_is_a_tick: 35,
    actions_of_earlier_lives: 117,
    folded_in_the_order_of_the_log: 50,
    scheduled_ones_folded: 50,
    checkpoint_ignored: 26,
    adopted_without_order: 182,
    scheduled_too_early: 4,
    decision_before_its_items: 22,
}
"""Each with a seed at which it broke, which is tried first."""


def first_break(first):
    """The invariant that does not hold at the first seed at which one does not."""
    for seed in (first, *range(SEEDS)):
        try:
            World(seed).run()
        except BrokenError as broken:
            return seed, broken
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_rule_left_out_is_noticed(mutant, monkeypatch, caplog):
    """Each rule is there for a reason: without it an invariant breaks within 700 seeds."""
    caplog.set_level(logging.CRITICAL, "weavelet")
    mutant(monkeypatch)
    assert first_break(MUTANTS[mutant]), f"{SEEDS} seeds held without it"

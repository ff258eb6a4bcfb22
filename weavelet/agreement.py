"""The same step on every rank, over any key-value store, with no collective. Pure.

At each boundary all ranks apply the same decision, which the leader (rank 0) has written ahead. A
rank cannot pass a boundary undecided, so nothing rests on clocks or on how far ranks run apart. An
entry is a transaction over all ranks (`voting`).

The computations yield requests to the store (`keystore`). If `poll` ends by an exception, `leave`
is called next, or `break_off` if the store cannot be reached.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec
from msgspec.structs import replace

from weavelet.adoption import Adoption, Past, adoption_id, is_adoption
from weavelet.decisions import GROUP, Adopted, Decision, Item, Keys, decode_decisions, decode_items
from weavelet.keystore import Add, Delete, Put, Read, Steps
from weavelet.leading import NEVER, Leader
from weavelet.meeting import answer_ranks, ask_leader
from weavelet.messages import AppliedSet, Deliver, Entry, Pause, Resume, Set, Stop
from weavelet.planning import Planner
from weavelet.transaction import Verdict
from weavelet.voting import Participant, Seat, Transaction
from weavelet.waiting import Wait

PATIENCE = 300.0
PAUSE_PATIENCE = 30.0
"""Least time without a sign of life of rank 0 after which the others end a pause."""
JOIN_SECONDS = 60.0
BOUNDARY_SECONDS = 0.5

_log = logging.getLogger("weavelet")


class Ending(msgspec.Struct, frozen=True):
    """What became of an entry, or of the `adopts` that it stands for, on this replica.

    `order` is 0 where the ranks did not decide it.
    """

    entry: Entry
    sequence: int
    step: int | None
    verdict: Verdict
    order: int = 0
    adopts: tuple[Adopted, ...] = ()


class Replica(Participant, Protocol):
    """What agreement asks of the replica that it acts for, and tells it."""

    def conclude(self, ending: Ending) -> None:
        """An entry came to its end here."""


class Agreement:
    """One rank's part in deciding at which step an entry is applied.

    `off` is the reason why the ranks do not agree any more, None while they do. `decided` is what
    the checkpoint that this life began from says was decided (`past`), and all since.

    Args:
        name: The replica's id, as entries address it.
        clock: Seconds on a monotonic clock.
        patience: Seconds to wait for other ranks, longer than any of them is in a section.
        seconds: Between two boundaries, about.
    """

    def __init__(
        self,
        replica: Replica,
        *,
        rank: int,
        ranks: int,
        name: str,
        incarnation: str,
        clock: Callable[[], float],
        patience: float = PATIENCE,
        seconds: float = BOUNDARY_SECONDS,
        past: dict[str, Past] | None = None,
    ) -> None:
        self.off: str | None = None
        self.paused = False
        self.stop: Stop | None = None
        self.decided = dict(past or {})
        self._past = dict(self.decided)
        self._replica = replica
        self._clock = clock
        self._incarnation = incarnation
        self._seat = Seat(rank, ranks, name, Keys(incarnation), clock, patience)
        self._joined = False
        self._leaving = False
        self._step = 0
        self._tick = -1
        self._wake = 0
        self._index = 0
        self._boundary = 0
        self._owed: dict[str, Deliver] = {}
        # Entries that have, or will have, another end here than a refusal.
        self._spoken_for: set[str] = set()
        self._set_in: dict[str, int] = {}
        self._open: tuple[Transaction, Item] | None = None
        self._history = ""
        self._leader: Leader | None = None
        if rank == 0:
            order = max((each.order for each in self.decided.values()), default=0)
            self._leader = Leader(self._seat, Planner(seconds, order))

    def tick(self, step: int) -> bool:
        """Count a poll; the same step polled again is none. Whether `poll` has something to do."""
        if step == self._step and self._tick >= 0:
            return False
        self._step = step
        self._tick += 1
        if self._leader is not None:
            self._leader.planner.moved(self._tick, step)
        return self._tick >= self._wake

    def submit(self, message: Deliver) -> None:
        """An entry has come from the log: the leader has it decided, the others await that."""
        entry, sequence = message.entry, message.position.sequence
        if entry.id in self._past:
            # Its outcome may be lost with the life that it was decided in.
            self._tell_past(entry, sequence)
        elif self.off is not None and entry.id not in self.decided:
            if entry.id not in self._spoken_for:
                self._refuse(entry, sequence)
        elif self.stop is not None and entry.id not in self.decided:
            self._refuse(entry, sequence, reason="this job was told to stop")
        elif entry.id not in self._owed and entry.id not in self.decided:
            self._owed[entry.id] = message
            if self._leader is not None and entry.id not in self._spoken_for:
                self._leader.planner.submit(message)

    def _tell_past(self, entry: Entry, sequence: int, *, adopted: bool = False) -> None:
        past = self._past.pop(entry.id, None)
        if past is not None:
            verdict = Verdict(past.kind, past.changes, past.reason)
            adopts = (Adopted(entry.id, sequence, past.order),) if adopted else ()
            self._replica.conclude(Ending(entry, sequence, past.step, verdict, past.order, adopts))

    def adopt(self, adoption: Adoption) -> None:
        """Take over, before anything else, what the log says was applied since the checkpoint.

        The leader has it decided, and the others hear of it by its decisions. What is still open
        when agreement ends, `left_over` has.
        """
        for each in adoption.untold:
            self._tell_past(each.entry, each.sequence, adopted=True)
        self._spoken_for |= {each.entry for each in adoption.adopts}
        self._spoken_for |= {each.entry.id for each in adoption.waiting}
        if self._leader is not None:
            self._leader.planner.adopt(adoption, adoption_id(self._incarnation))

    def left_over(self, applied: Iterable[AppliedSet]) -> list[AppliedSet]:
        """What of this the ranks have not taken over together, in the order of its commits.

        Without the values that a later commit has replaced.
        """
        left: list[AppliedSet] = []
        replaced: set[str] = set()
        for one in sorted(applied, key=lambda one: one.order)[::-1]:
            values = {
                name: value
                for name, value in one.values.items()
                if name not in replaced and self._set_in.get(name, 0) <= one.order
            }
            if one.entry not in self.decided:
                left.insert(0, replace(one, values=values))
            if one.entry in self.decided or one.at_step is None or one.at_step <= self._step:
                replaced.update(one.values)
        return left

    def recall(self, past: Mapping[str, Past]) -> None:
        """A checkpoint was loaded: what it says was decided is not decided again."""
        self.decided.update(past)
        self._past.update(past)
        if self._leader is not None:
            orders = [each.order for each in past.values()]
            self._leader.planner.order = max([self._leader.planner.order, *orders])

    def poll(self) -> Steps[None]:
        """Join at first; then decide ahead, as the leader, and apply what is decided for this tick.

        Stays here while the job is paused.
        """
        if not self._joined and self.off is None:
            yield from self._join()
        while self.off is None and self.stop is None:
            if self._leader is not None:
                yield from self._leader.lead(self._tick, self._index, paused=self.paused)
            if self._boundary > self._tick:
                break
            found = yield from self._find()
            if found is None:
                reason = f"no decision by rank 0 within {self._seat.patience:g} s"
                yield from self._go_out(reason)
            else:
                yield from self._apply(*found)
        self._wake = self._next_wake()

    def leave(self, reason: str) -> Steps[None]:
        """Stop polling on purpose, so that nobody waits for this rank."""
        if self.off is not None:
            return
        self._leaving = True
        if self._open is not None:
            transaction, item = self._open
            verdict = yield from transaction.abandon(f"rank {self._seat.rank} left: {reason}")
            self._settle(item, verdict, transaction)
        yield from self._go_out(reason)

    def enter_section(self, timeout: float | None) -> Steps[None]:
        """This rank may not poll for so long: the others wait for it, without one twice as long."""
        if self._joined and self.off is None:
            seconds = self._seat.patience if timeout is None else timeout
            yield Put(self._seat.keys.section(self._seat.rank), repr(seconds).encode())

    def leave_section(self) -> Steps[None]:
        """It polls again."""
        if self._joined and self.off is None:
            yield Delete(self._seat.keys.section(self._seat.rank))

    def break_off(self, reason: str) -> None:
        """The store cannot be reached: undo what is open, and go on without agreement."""
        if self.off is not None:
            return
        if self._open is not None:
            transaction, item = self._open
            self._open = None
            verdict = transaction.break_off(reason)
            # The others may have come to something else: a Set is left to the log, an action was.
            self._spoken_for.add(item.entry.id)
            self._record(item, verdict, transaction, remember=not isinstance(item.entry.body, Set))
        self._end(reason)

    def let_go(self) -> None:
        """In a forked child: poll no more, and tell nobody."""
        self.off, self._wake = "this process was forked from the one that polls", NEVER

    def _join(self) -> Steps[None]:
        seconds = min(JOIN_SECONDS, self._seat.patience / 2)
        namespace: str | None = self._incarnation
        if self._leader is not None:
            self._leader.closing = yield from answer_ranks(self._seat, self._incarnation, seconds)
        else:
            namespace = yield from ask_leader(self._seat, self._incarnation, seconds)
        if namespace is None:
            self._end(f"rank 0 did not answer within {seconds:g} s: it has not polled, or is gone")
            return
        self._joined = True
        if self._leader is None:
            self._seat = replace(self._seat, keys=Keys(namespace))
            yield Put(self._seat.keys.joined(self._seat.rank), b"1")

    def _next_wake(self) -> int:
        if self.off is not None or self.stop is not None:
            return NEVER
        if self._leader is None:
            return self._boundary
        return min(self._boundary, self._leader.wake)

    def _find(self) -> Steps[tuple[Decision, list[Item]] | None]:
        """The decision for the next boundary, None if it does not come."""
        if self._leader is not None:
            return self._leader.take(self._index)
        patience = self._seat.patience
        wait = Wait(self._clock, max(patience, PAUSE_PATIENCE) if self.paused else patience)
        seen: bytes | None = None
        while True:
            data = yield Read(self._seat.keys.group(self._index))
            group = [] if data is None else decode_decisions(data)
            if self._index % GROUP < len(group):
                decision = group[self._index % GROUP]
                items = yield from self._items(decision)
                return decision, items
            if self.paused and wait.over:
                # Only rank 0 knows when the pause ends: for as long as it is there.
                alive = yield Read(self._seat.keys.alive)
                if alive != seen:
                    seen = alive
                    wait.renew()
            if wait.over and not (yield from self._seat.grant(wait, [0])):
                return None
            if not self.paused and wait.overdue():
                _log.warning(
                    "step %d: waiting for the decision of rank 0 since %.0f s; giving up at %g s",
                    self._step,
                    wait.elapsed,
                    wait.patience,
                )
            yield wait.nap(paused=self.paused)

    def _items(self, decision: Decision) -> Steps[list[Item]]:
        if not decision.items:
            return []
        data = yield Read(self._seat.keys.items(decision.index))
        return decode_items(data)

    def _apply(self, decision: Decision, items: list[Item]) -> Steps[None]:
        if decision.closed is not None:
            self._end(decision.closed)
            return
        for place, item in enumerate(items):
            base = self._seat.keys.vote(decision.index, place)
            yield from self._decide(item, base)
            if self.off is not None:
                return
        self._index += 1
        self._boundary = decision.next
        self.paused = self.paused and decision.next == decision.tick
        if self._index % GROUP == 0:
            yield Add(self._seat.keys.done(decision.index // GROUP))

    def _decide(self, item: Item, base: str) -> Steps[None]:
        if item.adopts and isinstance(item.entry.body, Set):
            # What was committed after it holds, also where it waited for its step again.
            order, values = _order(item), item.entry.body.values
            left = {name: values[name] for name in values if self._set_in.get(name, 0) <= order}
            item = replace(item, entry=replace(item.entry, body=Set(left)))
        transaction = Transaction(
            self._seat, self._replica, item, base=base, step=self._step, history=self._history
        )
        transaction.known = item.entry.id in self.decided
        if item.answer is not None:
            verdict = Verdict(item.answer.kind, reason=item.answer.reason)
            self._record(item, verdict, transaction)
            return
        self._open = (transaction, item)
        verdict = yield from transaction.carry_out()
        self._settle(item, verdict, transaction)

    def _settle(self, item: Item, verdict: Verdict, transaction: Transaction) -> None:
        self._open = None
        body = item.entry.body
        if verdict.kind == "applied":
            if isinstance(body, (Pause, Resume)):
                self.paused = isinstance(body, Pause)
            if isinstance(body, Pause) and self._leader is not None:
                self._leader.lease(body.lease)
            if isinstance(body, Stop):
                self.stop = body
            if isinstance(body, Set) and transaction.addressed and not is_adoption(item.entry):
                for name in () if body.dry_run else body.values:
                    self._set_in[name] = max(_order(item), self._set_in.get(name, 0))
        if self._leader is not None:
            self._leader.used(self._index, transaction.keys())
        self._record(item, verdict, transaction)
        if transaction.lost is not None:
            self._end(transaction.lost)

    def _record(
        self, item: Item, verdict: Verdict, transaction: Transaction, *, remember: bool = True
    ) -> None:
        entry = item.entry
        at_step = entry.at_step
        if verdict.kind == "applied" and at_step is not None and at_step < self._step:
            reason = f"step {at_step} came before the ranks could agree on it"
            verdict = replace(verdict, reason=verdict.reason or reason)
        past = Past(verdict.kind, self._step, item.order, verdict.reason, verdict.changes)
        if not transaction.known and remember and (not item.adopts or verdict.kind == "applied"):
            self._remember(item, past)
        for identifier in (entry.id, *(each.entry for each in item.adopts)):
            self._owed.pop(identifier, None)
        self._history = _digest(
            self._history, entry.id, str(transaction.committed), str(self._step)
        )
        if transaction.known:
            self._tell_past(entry, item.sequence)
        elif transaction.addressed:
            self._replica.conclude(
                Ending(entry, item.sequence, self._step, verdict, item.order, item.adopts)
            )

    def _remember(self, item: Item, past: Past) -> None:
        """Keep what was decided. What could not be adopted is left to the next life to adopt."""
        if not item.adopts:
            self.decided[item.entry.id] = past
        for each in item.adopts:
            changes = past.changes if each.entry == item.entry.id else ()
            self.decided[each.entry] = replace(past, order=each.order, changes=changes)

    def _go_out(self, reason: str) -> Steps[None]:
        if self._joined:
            yield Put(self._seat.keys.left(self._seat.rank), reason.encode("utf-8", "replace"))
            yield Add(self._seat.keys.out)
        # Ranks may have joined already while the leader still waited for others.
        if self._leader is not None and self._tick >= 0:
            yield from self._leader.close(f"rank 0 left: {reason}")
        self._end(reason)

    def _end(self, reason: str) -> None:
        self.off = reason
        if not self._leaving:
            _log.warning(
                "the ranks do not agree on steps any more: %s; training goes on, and commands are "
                "refused",
                reason,
            )
        self.paused = False
        self._wake = NEVER
        self._refuse_all()

    def _refuse_all(self) -> None:
        owed, self._owed = self._owed, {}
        for message in owed.values():
            if message.entry.id not in self._spoken_for:
                self._refuse(message.entry, message.position.sequence)

    def _refuse(self, entry: Entry, sequence: int, reason: str = "") -> None:
        if entry.targets and self._seat.replica not in entry.targets:
            return
        reason = reason or f"the ranks of this job do not agree on steps any more: {self.off}"
        verdict = Verdict("rejected", reason=reason)
        step = None if self._tick < 0 else self._step
        self._replica.conclude(Ending(entry, sequence, step, verdict))


def _order(item: Item) -> int:
    """The number of its commit: for what was adopted, that of an earlier life."""
    return max((each.order for each in item.adopts), default=item.order)


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()

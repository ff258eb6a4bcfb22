"""One item as a transaction over all ranks: two votes, one verdict, the same for everyone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Protocol

import msgspec

from weavelet.decisions import Item, Keys, encode
from weavelet.keystore import Add, Claim, Delete, Put, Read, Steps
from weavelet.messages import Act, Entry, Pause, Record, Resume, Set, Stop
from weavelet.transaction import Verdict
from weavelet.waiting import Wait

REFUSED = 1 << 32
"""What a refusal adds to the count of votes."""

_MARK_SECONDS = 0.5

_log = logging.getLogger("weavelet")


class Participant(Protocol):
    """What agreement asks of the replica that it acts for."""

    def validate(self, entry: Entry) -> str | None:
        """Why the entry cannot be done here, None if it can. Touches nothing."""

    def run(self, entry: Entry) -> Verdict:
        """Do it. `failed` and `rejected` leave nothing behind, as far as that can be."""

    def undo(self, entry: Entry) -> None:
        """Set back the Set that `run` applied last."""


class Ruling(Record, frozen=True):
    """What came of a round. `lost` says that not all votes came, or not from one step.

    Agreement is over then.
    """

    kind: Literal["yes", "no", "lost"]
    reason: str = ""


class Seat(msgspec.Struct, frozen=True):
    """One rank's place among the `ranks` of a life; `patience` in seconds."""

    rank: int
    ranks: int
    replica: str
    keys: Keys
    clock: Callable[[], float]
    patience: float

    def grant(self, wait: Wait, ranks: Iterable[int]) -> Steps[bool]:
        """Have longer patience with ranks that said they are in a section; whether that helps."""
        longest = 0.0
        for rank in ranks:
            seconds = yield Read(self.keys.section(rank))
            longest = max(longest, float(seconds or b"0"))
        return longest > 0 and wait.extend(self.patience + longest)

    def who_left(self) -> Steps[str | None]:
        """Why agreement cannot go on, None while nobody is out."""
        if (yield Read(self.keys.out)) is None:
            return None
        told = []
        for rank in range(self.ranks):
            reason = yield Read(self.keys.left(rank))
            if reason is not None:
                told.append(f"rank {rank} is out ({reason.decode()})")
        return "; ".join(told)


class Transaction:
    """An item on its way through the votes of one rank.

    `lost` is the reason why agreement is over, None while it is not. `known` says that the entry
    was decided before, here or in the life that the checkpoint is from. `committed` is the same on
    all ranks, other than the verdict.
    """

    def __init__(
        self,
        seat: Seat,
        participant: Participant,
        item: Item,
        *,
        base: str,
        step: int,
        history: str,
    ) -> None:
        self._seat = seat
        self._participant = participant
        self._entry = item.entry
        self._base = base
        self._step = step
        self._history = history
        self._round = "a"
        self._mine = Verdict("applied")
        self._ran = False
        self._refused = False
        self.known = False
        self.committed = False
        self.lost: str | None = None

    @property
    def addressed(self) -> bool:
        """Whether this replica owes an outcome."""
        targets = self._entry.targets
        return not targets or self._seat.replica in targets

    def carry_out(self) -> Steps[Verdict]:
        """Validate and vote; if all agree run and vote again; if all did it, it is so."""
        refusal = self.refusal()
        ruling = yield from self._vote(refusal, self.token())
        yield Delete(self._at(self._seat.rank))
        if ruling.kind != "yes":
            yield Delete(self.token())
            return self._judge(ruling)
        if not self._is_run_by_vote():
            return self._finish()
        self._round = "b"
        refusal = self._run()
        return self._judge((yield from self._vote(refusal)))

    def abandon(self, reason: str) -> Steps[Verdict]:
        """Leave in the middle: what the others come to, or else nothing, for all of them."""
        ruling = yield from self._claim(Ruling("lost", reason))
        if ruling.kind == "yes" and self._round == "a":
            if not self._is_run_by_vote():
                return self._finish()
            self._round = "b"
            ruling = yield from self._claim(Ruling("lost", reason))
        return self._judge(ruling)

    def break_off(self, reason: str) -> Verdict:
        """Without the store there is no knowing what the others come to; here it is undone."""
        verdict = self._judge(Ruling("lost", reason))
        return msgspec.structs.replace(verdict, kind="unknown")

    def keys(self) -> Sequence[str]:
        """The keys that are left when all ranks have seen the verdict."""
        parts = ["a", "a/verdict", "b", "b/verdict"]
        if self._refused:
            parts += [f"no/{rank}" for rank in range(self._seat.ranks)]
        return [self.token(), *(f"{self._base}/{part}" for part in parts)]

    def refusal(self) -> str | None:
        """Why this rank says no to the entry, before anything is touched."""
        entry = self._entry
        if self.known:
            return "it was decided before"
        if entry.at_step is not None and self._step < entry.at_step:
            return f"the next boundary was expected at step {entry.at_step}, not {self._step}"
        if self.addressed:
            return self._participant.validate(entry)
        if isinstance(entry.body, (Pause, Resume, Stop)):
            what = type(entry.body).__name__.lower()
            return f"{self._seat.replica} is not among the targets, and {what} is for all ranks"
        return None

    def token(self) -> str:
        """The counter that proves the same step and history: only those alike add to it."""
        return f"{self._base}/s/{self._step}.{self._history}"

    def _at(self, rank: int) -> str:
        return f"{self._base}/at/{rank}"

    def _is_run_by_vote(self) -> bool:
        body = self._entry.body
        return isinstance(body, Act) or (isinstance(body, Set) and not body.dry_run)

    def _finish(self) -> Verdict:
        """Do what one vote was enough for, once."""
        if self.committed:
            return Verdict("failed", reason="interrupted on this rank")
        self.committed = True
        return self._participant.run(self._entry) if self.addressed else self._mine

    def _run(self) -> str | None:
        if not self.addressed:
            return None
        self._mine = self._participant.run(self._entry)
        self._ran = self._mine.kind == "applied"
        return None if self._ran else self._mine.reason or self._mine.kind

    def _judge(self, ruling: Ruling) -> Verdict:
        self._refused = ruling.kind == "no"
        if ruling.kind == "lost":
            self.lost = ruling.reason
        if self._round == "a":
            return Verdict("rejected", reason=ruling.reason)
        if ruling.kind == "yes":
            self.committed = True
            return self._mine
        reason = ruling.reason
        if self._ran and isinstance(self._entry.body, Set):
            self._ran = False
            self._participant.undo(self._entry)
            reason = f"{reason}; set back on all ranks"
        elif self._ran:
            reason = f"{reason}; it ran here, which cannot be undone"
        return Verdict(
            "failed", reason=reason, result=self._mine.result, traceback=self._mine.traceback
        )

    def _vote(self, refusal: str | None, token: str | None = None) -> Steps[Ruling]:
        if refusal is not None:
            yield Put(f"{self._base}/no/{self._seat.rank}", refusal.encode("utf-8", "replace"))
        if token is not None:
            yield Put(self._at(self._seat.rank), f"{self._step} {self._history or '-'}".encode())
            yield Add(token)
        votes = yield Add(f"{self._base}/{self._round}", 1 if refusal is None else 1 + REFUSED)
        if votes % REFUSED == self._seat.ranks:
            ruling = yield from self._count(votes // REFUSED, token)
            return (yield from self._claim(ruling))
        return (yield from self._await())

    def _count(self, refusals: int, token: str | None) -> Steps[Ruling]:
        """The ruling by whoever voted last, so that everything is there to be read."""
        if refusals:
            told = []
            for rank in range(self._seat.ranks):
                refusal = yield Read(f"{self._base}/no/{rank}")
                if refusal is not None:
                    told.append(f"rank {rank}: {refusal.decode()}")
            return Ruling("no", "; ".join(told))
        if token is not None:
            alike = int((yield Read(token)) or b"0")
            if alike != self._seat.ranks:
                # It never gets better: who is apart stays apart.
                return Ruling("lost", (yield from self._who_differs()))
        return Ruling("yes")

    def _who_differs(self) -> Steps[str]:
        """The ranks that are elsewhere than most, or than the lowest ranks, and where they are."""
        places: dict[tuple[str, ...], list[int]] = {}
        for rank in range(self._seat.ranks):
            said = yield Read(self._at(rank))
            places.setdefault(tuple((said or b"? ?").decode().split()), []).append(rank)
        (step, history), *others = sorted(places, key=lambda each: -len(places[each]))
        told = []
        for other in others:
            names = _ranks(places[other])
            if other[0] != step:
                told.append(f"{names} at step {other[0]}")
            else:
                told.append(f"{names} with other entries decided before")
        return f"{', '.join(told)}, while {_ranks(places[step, history])} at step {step}"

    def _claim(self, ruling: Ruling) -> Steps[Ruling]:
        """The first ruling holds, so that nobody keeps what another has set back."""
        data = yield Claim(f"{self._base}/{self._round}/verdict", encode(ruling))
        return msgspec.msgpack.decode(data, type=Ruling)

    def _await(self) -> Steps[Ruling]:
        wait = Wait(self._seat.clock, self._seat.patience)
        mark = f"{self._base}/{self._round}/here/{self._seat.rank}"
        marked = False
        while True:
            found = yield Read(f"{self._base}/{self._round}/verdict")
            if found is not None:
                ruling = msgspec.msgpack.decode(found, type=Ruling)
                break
            reason = yield from self._why_lost(wait)
            if reason is not None:
                ruling = yield from self._claim(Ruling("lost", reason))
                break
            if not marked and wait.elapsed > _MARK_SECONDS:
                marked = True
                yield Put(mark, b"1")
            yield wait.nap()
        if marked:
            yield Delete(mark)
        return ruling

    def _why_lost(self, wait: Wait) -> Steps[str | None]:
        left = yield from self._seat.who_left()
        if left is not None:
            return left
        if wait.over:
            ranks = yield from self._absent()
            if not (yield from self._seat.grant(wait, ranks)):
                return f"no vote of {_ranks(ranks)} within {wait.patience:g} s"
        if wait.overdue():
            absent = _ranks((yield from self._absent()))
            _log.warning(
                "step %d: waiting for the vote of %s on entry %s since %.0f s; giving up at %g s",
                self._step,
                absent,
                self._entry.id,
                wait.elapsed,
                wait.patience,
            )
        return None

    def _absent(self) -> Steps[list[int]]:
        """The ranks that are not waiting for this verdict."""
        absent = []
        for rank in range(self._seat.ranks):
            here = yield Read(f"{self._base}/{self._round}/here/{rank}")
            if here is None and rank != self._seat.rank:
                absent.append(rank)
        return absent


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank {', '.join(map(str, ranks))}" if ranks else "any rank"

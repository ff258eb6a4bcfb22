"""A job's control log as the weaver reads it, and what became of each entry. Pure.

An entry's life: `accepted`, `delivered` (a replica has it), then what its outcomes say: `applied`,
`rejected`, `failed`, `expired`, `skipped`, `unknown`, or `mixed` where replicas differ. It is over
when a `Settled` for it is in the log. One is due when all addressed replicas have answered or will
not any more, or 5 s after the deadline; and again when a late outcome says more than the last one.

Several weavers may read one log: what is due depends on the streams alone, apart from the deadline,
and a Settled has an id made of its contents and its place, so that one is stored once.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

import msgspec

from weavelet.messages import Begin, Entry, Freeze, Notice, Outcome, Settled, Unfreeze
from weavelet.weaver.protocol import EntryUpdate
from weavelet.weaver.views import entry_view, outcome_view
from weavelet.weaver.waiting import Waiting

GRACE = 5.0
"""Seconds after the deadline in which a replica's `expired` may still arrive."""

AMEND_SECONDS = 0.5
"""The least time between two Settled of one entry: late outcomes come in crowds."""

AUTHOR = "weaver"
_TEXT_LIMIT = 500
_MOST_NOTICES = 256
_MOST_ADOPTED = 16
"""Later lives of one replica of which it is kept that they took an entry over: the last ones."""
_EARLY_BYTES = 16 * 1024 * 1024


class Replicas(Protocol):
    """What a log asks of the fleet."""

    def gone(self, run: str, job: str, replica: str, now: float) -> str | None: ...

    def silent(self, run: str, job: str, replica: str, now: float) -> bool: ...

    def incarnation(self, run: str, job: str, replica: str) -> str: ...


@dataclass(slots=True)
class Life:
    """One entry and its outcomes. `time` is the server's stamp, `at` the same moment here."""

    run: str
    job: str
    entry: Entry
    sequence: int
    time: float
    at: float
    heard: dict[str, Outcome] = field(default_factory=dict)
    adopted: dict[str, dict[str, Outcome]] = field(default_factory=dict)
    delivered: set[str] = field(default_factory=set)
    settled: dict[str, Outcome] | None = None
    settled_at: float = -math.inf

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The best known outcome per replica: said by itself before settled before unknown."""
        merged = dict(self.settled or {})
        for replica, outcome in self.heard.items():
            if outcome.kind != "unknown" or replica not in merged:
                merged[replica] = outcome
        return merged

    @property
    def asks(self) -> bool:
        """Whether anybody owes an outcome."""
        return not isinstance(self.entry.body, (Begin, Freeze, Unfreeze))

    @property
    def over(self) -> bool:
        """Whether clients need not wait any longer."""
        return self.settled is not None or not self.asks

    @property
    def state(self) -> str:
        """The word for where the entry is in its life."""
        outcomes = self.outcomes
        if not self.asks:
            return "applied"
        if self.over or (self.entry.addressed and not self.missing(outcomes)):
            kinds = {outcome.kind for outcome in outcomes.values()}
            return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "unknown"
        return "delivered" if outcomes or self.delivered else "accepted"

    def missing(self, outcomes: dict[str, Outcome]) -> list[str]:
        """The addressed replicas without an outcome."""
        return [replica for replica in self.entry.addressed if replica not in outcomes]

    def adopt(self, outcome: Outcome) -> bool:
        """A later life of a replica took the entry over. Returns whether that is news."""
        lives = self.adopted.setdefault(outcome.replica, {})
        if outcome.incarnation in lives:
            return False
        lives[outcome.incarnation] = outcome
        if len(lives) > _MOST_ADOPTED:
            del lives[next(iter(lives))]
        return True

    def update(self, request: str = "") -> EntryUpdate:
        """What clients are told of it, in answer to `request`."""
        adopted = chain.from_iterable(lives.values() for lives in self.adopted.values())
        outcomes = [*self.outcomes.values(), *adopted]
        return EntryUpdate(
            id=request,
            entry=entry_view(self.run, self.job, self.entry, self.sequence, self.time),
            state=self.state,
            settled=self.over,
            outcomes=[outcome_view(outcome) for outcome in outcomes],
        )


class JobLog:
    """The folded control log of one job.

    `last` is the sequence of the last entry read, `begun` whether there was a Begin, `notices` the
    last of these, oldest first, and `authors` are those of all entries. Several may share one room
    for `early` outcomes.
    """

    def __init__(
        self, run: str, job: str, early: Waiting[tuple[str, str, str], Outcome] | None = None
    ) -> None:
        self.run = run
        self.job = job
        self.last = 0
        self.begun = False
        self.frozen_by: str | None = None
        self.lives: dict[str, Life] = {}
        self.notices: deque[Life] = deque(maxlen=_MOST_NOTICES)
        self.authors: set[str] = set()
        self._open: dict[str, Life] = {}
        self._early = Waiting(_EARLY_BYTES) if early is None else early

    def read(self, entry: Entry, sequence: int, time: float, at: float) -> Life | None:
        """Fold the next entry. Returns the life that it began or settled."""
        self.last = max(self.last, sequence)
        if isinstance(entry.body, Settled):
            return self._settle(entry.body, at)
        if entry.id in self.lives:
            return None
        self.begun = self.begun or isinstance(entry.body, Begin)
        if isinstance(entry.body, (Freeze, Unfreeze)):
            self.frozen_by = entry.author if isinstance(entry.body, Freeze) else None
        life = Life(self.run, self.job, entry, sequence, time, at)
        self.lives[entry.id] = life
        self.authors.add(entry.author)
        if isinstance(entry.body, Notice):
            self.notices.append(life)
        if life.asks:
            self._open[entry.id] = life
        for outcome in self._early.take((self.run, self.job, entry.id)):
            self.decided(outcome)
        return life

    def skipped(self, sequence: int) -> None:
        """Something unreadable is in the log at this place."""
        self.last = max(self.last, sequence)

    def decided(self, outcome: Outcome, size: int = 0) -> Life | None:
        """Fold an outcome of so many bytes. Returns the life if it says anything new."""
        life = self.lives.get(outcome.entry)
        if life is None:
            self._early.keep((self.run, self.job, outcome.entry), outcome, size)
            return None
        if outcome.adopted:
            return life if life.adopt(outcome) else None
        known = life.heard.get(outcome.replica)
        if known is not None and (known.kind != "unknown" or outcome.kind == "unknown"):
            return None
        life.heard[outcome.replica] = outcome
        if life.asks:
            self._open[life.entry.id] = life
        return life

    def received(self, replica: str, sequence: int) -> list[Life]:
        """A replica's log position. Returns the lives that were delivered by it just now."""
        changed = []
        for life in self._open.values():
            if life.sequence <= sequence and replica not in life.delivered:
                life.delivered.add(replica)
                if not life.over and len(life.delivered) == 1 and not life.heard:
                    changed.append(life)
        return changed

    @property
    def open(self) -> bool:
        """Whether anything may become due."""
        return bool(self._open)

    def due(self, fleet: Replicas, now: float) -> Iterator[tuple[Life, Settled]]:
        """The lives that are over without the log saying so, with what it should say."""
        for life in list(self._open.values()):
            if now - life.settled_at < AMEND_SECONDS:
                continue
            outcomes = self._final(life, fleet, now)
            if outcomes is None:
                continue
            if life.settled is not None and _kinds(outcomes) == _kinds(life.settled):
                del self._open[life.entry.id]
                continue
            said = tuple(_brief(outcome) for _, outcome in sorted(outcomes.items()))
            yield life, Settled(life.entry.id, life.sequence, said)

    def _final(self, life: Life, fleet: Replicas, now: float) -> dict[str, Outcome] | None:
        outcomes = life.outcomes
        for replica in life.missing(outcomes):
            reason = self._why_unknown(life, replica, fleet, now)
            if reason is None:
                return None
            outcomes[replica] = Outcome(
                entry=life.entry.id,
                sequence=life.sequence,
                replica=replica,
                incarnation=fleet.incarnation(self.run, self.job, replica),
                kind="unknown",
                reason=reason,
            )
        return outcomes if outcomes or life.entry.deadline is None or _past(life, now) else None

    def _why_unknown(self, life: Life, replica: str, fleet: Replicas, now: float) -> str | None:
        if gone := fleet.gone(self.run, self.job, replica, now):
            return gone
        deadline = life.entry.deadline
        if deadline is not None and _past(life, now):
            if not math.isfinite(deadline):
                return f"its deadline is no time: {deadline:g}"
            return f"no answer within {deadline + GRACE:g} s"
        if deadline is None and fleet.silent(self.run, self.job, replica, now):
            return "not heard for a long time"
        return None

    def _settle(self, settled: Settled, at: float) -> Life | None:
        life = self.lives.get(settled.entry)
        if life is None:
            return None
        life.settled = {outcome.replica: outcome for outcome in settled.outcomes}
        life.settled_at = at
        # due() closes it, unless more has been heard than this Settled says.
        self._open[settled.entry] = life
        return life


def settled_entry(settled: Settled, last: int) -> Entry:
    """The entry that carries a Settled, with an id made of what it says and of what it follows."""
    said = [(outcome.replica, outcome.kind) for outcome in settled.outcomes]
    digest = hashlib.sha256(repr((last, said)).encode()).hexdigest()[:16]
    return Entry(id=f"{settled.entry}.{digest}", author=AUTHOR, body=settled)


def bare(settled: Settled) -> Settled:
    """The same without values, for one that is too large otherwise."""
    outcomes = tuple(
        msgspec.structs.replace(one, changes=(), result=None, reason=None)
        for one in settled.outcomes
    )
    return msgspec.structs.replace(settled, outcomes=outcomes)


def _past(life: Life, now: float) -> bool:
    deadline = life.entry.deadline
    if deadline is None:
        return False
    # With a deadline that is no number it would never be over.
    return not math.isfinite(deadline) or now - life.at > deadline + GRACE


def _kinds(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {replica: outcome.kind for replica, outcome in outcomes.items()}


def _brief(outcome: Outcome) -> Outcome:
    # The outcome stream keeps the whole of it; a thousand tracebacks would not fit one message.
    reason = outcome.reason[:_TEXT_LIMIT] if outcome.reason else outcome.reason
    return msgspec.structs.replace(outcome, traceback=None, reason=reason)

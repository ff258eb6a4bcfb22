"""What a replica does with the log that its job has already when it joins. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from weavelet.messages import (
    Act,
    Adopt,
    AppliedSet,
    Begin,
    Entry,
    Freeze,
    Notice,
    Pause,
    Position,
    Set,
    Settled,
    Stop,
    Unfreeze,
)


@dataclass(frozen=True)
class Logged:
    """An entry as read from the control log.

    `expires` is on this host's monotonic clock. `earlier` says that an earlier life of the replica
    may have begun it.
    """

    sequence: int
    entry: Entry
    expires: float | None = None
    earlier: bool = False


@dataclass(frozen=True)
class Plan:
    """What to adopt, and what to deliver after it."""

    adopt: Adopt
    deliver: tuple[Logged, ...]


def concerns(entry: Entry, replica: str | None) -> bool:
    """Whether a replica, any one for None, has to do something about an entry."""
    if isinstance(entry.body, (Begin, Settled, Freeze, Unfreeze)):
        return False
    return not entry.targets or replica is None or replica in entry.targets


def plan(
    log: Sequence[Logged],
    replica: str,
    now: float,
    *,
    epoch: str,
    adopt: Literal["job", "checkpoint", "none"] = "job",
    whole_log: bool = False,
) -> Plan:
    """Fold the log up to its end.

    Settled Sets that were applied for this replica are adopted, in order. What is not settled yet
    is delivered, within its deadline; so is what an earlier life died in, marked as `earlier`,
    since only the trainer knows what does no harm twice. An applied Set of a control that a
    delivered one before it is still to change is delivered, too, or the older value would win.
    With `whole_log` the same goes for what is addressed to other replicas.
    """
    settled = {
        logged.entry.body.entry: logged.entry.body
        for logged in log
        if isinstance(logged.entry.body, Settled)
    }
    adopted: list[AppliedSet] = []
    deliver: list[Logged] = []
    awaited: set[str] = set()
    for logged in log:
        entry = logged.entry
        if not concerns(entry, None if whole_log else replica):
            continue
        end = settled.get(entry.id)
        if end is None:
            once = isinstance(entry.body, (Act, Notice, Pause, Stop))
            deliver.append(replace(logged, earlier=once and replica in entry.addressed))
        elif _died_in(end, replica) and logged.expires is not None and logged.expires > now:
            deliver.append(replace(logged, earlier=True))
        elif adopt == "job" and isinstance(entry.body, Set) and _applied(entry, end, replica):
            if awaited.isdisjoint(entry.body.values):
                adopted.append(_applied_set(logged, entry.body, end))
            else:
                deliver.append(_unconditional(logged, entry.body))
        if deliver and deliver[-1].sequence == logged.sequence and isinstance(entry.body, Set):
            awaited.update(entry.body.values)
    tail = log[-1].sequence if log else 0
    start = deliver[0].sequence - 1 if deliver else tail
    return Plan(Adopt(tuple(adopted), Position(epoch, start)), tuple(deliver))


def _applied_set(logged: Logged, body: Set, end: Settled) -> AppliedSet:
    entry = logged.entry
    order = max((outcome.order for outcome in end.outcomes), default=0)
    return AppliedSet(
        entry.id, logged.sequence, entry.author, body.values, order, entry.at_step, entry.targets
    )


def _unconditional(logged: Logged, body: Set) -> Logged:
    """The entry without the conditions under which it was applied once."""
    entry = logged.entry
    bare = Entry(
        id=entry.id,
        author=entry.author,
        body=Set(body.values),
        targets=entry.targets,
        addressed=entry.addressed,
    )
    return replace(logged, entry=bare, expires=None)


def _died_in(end: Settled, replica: str) -> bool:
    kinds = {outcome.kind for outcome in end.outcomes if outcome.replica == replica}
    return kinds == {"unknown"}


def _applied(entry: Entry, end: Settled, replica: str) -> bool:
    """Whether it holds for this replica: applied by it, or by the job that it has come late to."""
    mine = [outcome.kind for outcome in end.outcomes if outcome.replica == replica]
    if mine:
        return mine[-1] == "applied"
    others = not entry.targets or replica not in entry.targets
    return others and any(outcome.kind == "applied" for outcome in end.outcomes)

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
    may have begun it, `begun` that one of any replica may have.
    """

    sequence: int
    entry: Entry
    expires: float | None = None
    earlier: bool = False
    begun: bool = False


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
    With `whole_log` the same goes for what is addressed to other replicas; what any of them applied
    is adopted then as well, not as this replica's `own`: ranks do it all or none, and an outcome
    may be lost with its rank.
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
        given: Logged | None = None
        if end is None:
            once = isinstance(entry.body, (Act, Notice, Pause, Stop))
            earlier = once and replica in entry.addressed
            given = replace(logged, earlier=earlier, begun=once and bool(entry.addressed))
        elif _died_in(entry, end, replica) and logged.expires is not None and logged.expires > now:
            given = replace(logged, earlier=True, begun=True)
        if end is not None and adopt == "job" and isinstance(entry.body, Set):
            mine = _applied(entry, end, replica)
            own = mine and awaited.isdisjoint(entry.body.values)
            if own or (whole_log and _applied_by_any(end)):
                adopted.append(_applied_set(logged, entry.body, end, own=own))
            if mine and not own:
                given = _unconditional(logged, entry.body)
        if given is not None:
            deliver.append(given)
            awaited.update(entry.body.values if isinstance(entry.body, Set) else ())
    tail = log[-1].sequence if log else 0
    start = deliver[0].sequence - 1 if deliver else tail
    return Plan(Adopt(tuple(adopted), Position(epoch, start)), tuple(deliver))


def _applied_set(logged: Logged, body: Set, end: Settled, *, own: bool) -> AppliedSet:
    entry = logged.entry
    orders = (outcome.order for outcome in end.outcomes if outcome.kind == "applied")
    order = max(orders, default=0)
    return AppliedSet(
        entry=entry.id,
        sequence=logged.sequence,
        author=entry.author,
        values=body.values,
        order=order,
        at_step=entry.at_step,
        targets=entry.targets,
        own=own,
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


def _died_in(entry: Entry, end: Settled, replica: str) -> bool:
    """Whether its life ended in it; of what is for others alone, theirs."""
    others = bool(entry.targets) and replica not in entry.targets
    kinds = {outcome.kind for outcome in end.outcomes if others or outcome.replica == replica}
    return kinds == {"unknown"}


def _applied_by_any(end: Settled) -> bool:
    return any(outcome.kind == "applied" for outcome in end.outcomes)


def _applied(entry: Entry, end: Settled, replica: str) -> bool:
    """Whether it holds for this replica: applied by it, or by the job that it has come late to."""
    mine = [outcome.kind for outcome in end.outcomes if outcome.replica == replica]
    if mine:
        return mine[-1] == "applied"
    others = not entry.targets or replica not in entry.targets
    return others and _applied_by_any(end)

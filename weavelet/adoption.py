"""What a new life takes over from the log of its job. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

import msgspec
from msgspec.structs import replace

from weavelet.decisions import Adopted
from weavelet.messages import AppliedSet, Change, Entry, OutcomeKind, Record, Set, Value

_ADOPTION = "adopt-"
_log = logging.getLogger("weavelet")


class Past(Record, frozen=True):
    """What became of an entry: kept with the user's checkpoint, so that it is not done again.

    `order` numbers what was decided in this job, over its lives.
    """

    kind: OutcomeKind
    step: int | None
    order: int = 0
    reason: str | None = None
    changes: tuple[Change, ...] = ()


class Committed(msgspec.Struct, frozen=True):
    """A Set that the log says was applied: what it set, and the order of its last outcome."""

    entry: Entry
    sequence: int
    order: int


class Adoption(msgspec.Struct, frozen=True):
    """One Set for all that were applied, and those that wait for their step.

    `adopts` names the former. `untold` are those of which the checkpoint knows
    more than the log. `order` is the highest in the log.
    """

    values: Set
    adopts: tuple[Adopted, ...]
    waiting: tuple[Committed, ...]
    untold: tuple[Committed, ...]
    order: int


def adoption_id(incarnation: str) -> str:
    """The id of the one entry by which a life takes over what the log says was applied."""
    return f"{_ADOPTION}{incarnation}"


def is_adoption(entry: Entry) -> bool:
    """Whether an entry stands for what the log says was applied."""
    return entry.id.startswith(_ADOPTION) and not entry.author


def committed(one: AppliedSet) -> Committed:
    """What the sidecar brought of one applied Set, as an entry."""
    entry = Entry(
        id=one.entry,
        author=one.author,
        body=Set(one.values),
        targets=one.targets,
        at_step=one.at_step,
    )
    return Committed(entry, one.sequence, one.order)


def registered(
    values: Mapping[str, Value], names: AbstractSet[str]
) -> tuple[dict[str, Value], str]:
    """The values whose controls are among these names; the other names as text, which is logged."""
    missing = ", ".join(sorted(values.keys() - names))
    if missing:
        _log.warning("the log of this job sets %s, which this replica has not registered", missing)
    return {name: value for name, value in values.items() if name in names}, missing


def fold(applied: Iterable[Committed], decided: Mapping[str, Past], step: int) -> Adoption:
    """Fold the applied Sets that the checkpoint does not hold, in the order of their commits.

    A scheduled one whose step is still to come waits for it, and one for some replicas alone stays
    by itself. Either way, what was committed later holds, also where only the checkpoint knows.
    """
    held = _held(decided.values())
    values: dict[str, Value] = {}
    replaced: set[str] = set()
    adopts, waiting, untold = [], [], []
    inorder = sorted(applied, key=lambda each: _order(each, decided))
    for each in reversed(inorder):
        entry = each.entry
        mine = entry.body.values if isinstance(entry.body, Set) else {}
        left = {
            name: value
            for name, value in mine.items()
            if name not in replaced and held.get(name, 0) <= each.order
        }
        past = decided.get(entry.id)
        ahead = entry.at_step is not None and entry.at_step > step
        if past is None and (ahead or entry.targets):
            waiting.append(replace(each, entry=replace(entry, body=Set(left))))
            continue
        replaced.update(mine)
        if past is None:
            values = {**left, **values}
            adopts.append(Adopted(entry.id, each.sequence, each.order))
        elif past.order > each.order:
            untold.append(each)
    return Adoption(
        Set(values),
        tuple(reversed(adopts)),
        tuple(reversed(waiting)),
        tuple(untold),
        max((each.order for each in inorder), default=0),
    )


def _held(decided: Iterable[Past]) -> dict[str, int]:
    """The order of the last commit to each control that a checkpoint holds."""
    held: dict[str, int] = {}
    for past in decided:
        for change in past.changes if past.kind == "applied" else ():
            held[change.name] = max(past.order, held.get(change.name, 0))
    return held


def _order(each: Committed, decided: Mapping[str, Past]) -> int:
    past = decided.get(each.entry.id)
    return each.order if past is None else max(past.order, each.order)

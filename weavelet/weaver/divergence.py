"""Whether the ranks of a job hold the same settings, as far as they say. Pure.

Compared are ranks of one world that train and have the same controls. A change reaches the weaver
from one rank earlier than from another, so that only what lasts is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain

from weavelet.weaver.lives import Incarnation, Job, Replica

LASTING_SECONDS = 5.0
"""How long settings must differ to be shown: some heartbeats."""

_TRAINING = frozenset({"running", "paused", "in-section", "stalled"})
_MOST_NAMED = 8


def look(job: Job, now: float) -> bool:
    """Compare the ranks of a job at this moment. Returns whether `job.diverged` has changed."""
    replicas = job.replicas.values()
    found = divergence(replica.current for replica in replicas if _trains(replica, now))
    if found is None:
        job.differs_since = None
    elif job.differs_since is None:
        job.differs_since = now
    lasting = job.differs_since is not None and now - job.differs_since >= LASTING_SECONDS
    before, job.diverged = job.diverged, found if lasting else None
    return job.diverged != before


def divergence(lives: Iterable[Incarnation]) -> str | None:
    """Which of these hold other settings than the rest, and in what; None if all agree."""
    worlds: dict[tuple[object, ...], list[Incarnation]] = defaultdict(list)
    for life in lives:
        who = life.identity
        if who.rank is not None and (who.world_size or 0) > 1 and life.config_hash:
            names = frozenset(spec.name for spec in life.controls if spec.kind == "control")
            worlds[who.world_size, names].append(life)
    return next((text for world in worlds.values() if (text := _of_world(world))), None)


def _of_world(lives: Sequence[Incarnation]) -> str | None:
    groups: dict[str, list[Incarnation]] = defaultdict(list)
    for life in lives:
        groups[life.config_hash].append(life)
    if len(groups) < 2:
        return None
    # Of equally many those with the lowest rank count as the rest.
    rest, *others = sorted(groups.values(), key=lambda group: (-len(group), _rank(group[0])))
    odd = sorted(chain(*others), key=_rank)
    names = ", ".join(life.identity.replica for life in odd[:_MOST_NAMED])
    if len(odd) > _MOST_NAMED:
        names += f" and {len(odd) - _MOST_NAMED} more"
    holds = "hold" if len(odd) > 1 else "holds"
    text = f"{names} {holds} other settings than {_named(rest)}"
    differing = _differing(rest[0], odd)
    return f"{text}: {', '.join(differing)}" if differing else text


def _differing(one: Incarnation, others: Sequence[Incarnation]) -> list[str]:
    """The controls whose last known values differ."""
    values = {spec.name: spec.value for spec in one.controls if spec.kind == "control"}
    found = {
        spec.name
        for life in others
        for spec in life.controls
        # By their text: NaN is what it is.
        if spec.name in values and repr(spec.value) != repr(values[spec.name])
    }
    return sorted(found)[:_MOST_NAMED]


def _named(lives: Sequence[Incarnation]) -> str:
    first = min(lives, key=_rank).identity.replica
    return first if len(lives) == 1 else f"{first} and {len(lives) - 1} more"


def _rank(life: Incarnation) -> int:
    return life.identity.rank or 0


def _trains(replica: Replica, now: float) -> bool:
    return replica.current.state_at(now) in _TRAINING

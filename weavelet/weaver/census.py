"""How much of the fleet the weaver keeps, whatever anybody puts on the bus. Pure."""

from __future__ import annotations

import logging

from msgspec.structs import replace

from weavelet.messages import ControlSpec, Heartbeat, Registration

log = logging.getLogger("weavelet.weaver")

MOST_JOBS = 10_000
MOST_REPLICAS = 50_000
"""Of all jobs together, those that have ended included."""
LARGEST = 128 * 1024
"""Bytes of a registration or a heartbeat that is kept as it is."""
MOST_CONTROLS = 1000
"""Controls of a replica of which at least the name is kept."""
LONGEST = 200
"""Characters of such a name."""
_MOST_PARTS = 3000
"""Parts of all schemas of one replica: checking one takes up to 0.2 ms."""
_MOST_SAID = 1000


class Census:
    """Who is known, up to a number; `left_out` counts messages that were not taken in as said."""

    def __init__(self) -> None:
        self.left_out = 0
        self._jobs: dict[tuple[str, str], set[str]] = {}
        self._replicas = 0
        self._said: set[str] = set()

    def admits(self, run: str, job: str, replica: str = "") -> bool:
        """Whether there is room for a job, and for this replica of it."""
        known = self._jobs.get((run, job))
        if known is None:
            if len(self._jobs) >= MOST_JOBS:
                self._leave_out(
                    "jobs", f"there are {MOST_JOBS} already; `weavelet rm RUN` makes room"
                )
                return False
            known = self._jobs[run, job] = set()
        if replica and replica not in known:
            if self._replicas >= MOST_REPLICAS:
                self._leave_out(
                    "replicas", f"there are {MOST_REPLICAS} already; `weavelet rm RUN` makes room"
                )
                return False
            known.add(replica)
            self._replicas += 1
        return True

    def forget(self, run: str, job: str) -> None:
        """Make room: a job is gone."""
        self._replicas -= len(self._jobs.pop((run, job), ()))

    def clear(self) -> None:
        """Make room: all are gone."""
        self._jobs.clear()
        self._replicas = 0

    def fitted(self, said: Registration, size: int, place: str) -> Registration:
        """A registration as it is kept: of one that is too large, what controls there are."""
        if size <= LARGEST and _parts(said) <= _MOST_PARTS:
            return said
        self._leave_out(place, "its controls are too large; they are known by name only")
        named = [spec for spec in said.controls if len(spec.name) <= LONGEST]
        return replace(
            said,
            identity=replace(
                said.identity,
                incarnation=said.identity.incarnation[:LONGEST],
                host=said.identity.host[:LONGEST],
                version=said.identity.version[:LONGEST],
            ),
            controls=tuple(map(_bare, named[:MOST_CONTROLS])),
            notices=tuple(kind[:LONGEST] for kind in said.notices[:MOST_CONTROLS]),
        )

    def fitted_beat(self, said: Heartbeat, size: int, place: str) -> Heartbeat:
        """A heartbeat as it is kept: of one that is too large, that there was one."""
        if size <= LARGEST:
            return said
        self._leave_out(place, "its heartbeat is too large; values and devices are not known")
        return Heartbeat(
            replica=said.replica,
            incarnation=said.incarnation[:LONGEST],
            state=said.state,
            step=said.step,
            received=said.received,
        )

    def _leave_out(self, place: str, why: str) -> None:
        self.left_out += 1
        if place not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(place)
            log.warning("left out of %s: %s; more of this is only counted", place, why)


def _bare(spec: ControlSpec) -> ControlSpec:
    return ControlSpec(
        name=spec.name,
        kind=spec.kind,
        schema="",
        danger=spec.danger,
        idempotent=spec.idempotent,
        quarantined=spec.quarantined,
    )


def _parts(said: Registration) -> int:
    """About how many parts its schemas have, each counted once; never too few."""
    texts = {spec.schema for spec in said.controls}
    return sum(text.count("{") + text.count("[") + text.count(",") for text in texts)

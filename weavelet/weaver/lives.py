"""One replica over its incarnations, and the job that it belongs to. Pure, like the fleet.

A replica's state is the last one heard; `unknown` once it was not heard for 5 s, and the real one
again as soon as it is. The end of an incarnation (`exited`, `crashed`) is final, unless heartbeats
go on long after it: then it was said in error. A replica is live
until its end, and an unknown one for 60 s more, counted from the weaver's own start at the
earliest: so a newer job that fell silent does not hide an older one that trains.

An incarnation that was refused control never stands for its replica, neither while it lives nor
when it is over. It says so by its state; of one that ended unheard it shows in that an older one
goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from weavelet.messages import ControlSpec, Device, Heartbeat, Identity, ReplicaState, Scalar, Value
from weavelet.weaver.protocol import ControlView, JobView, ReplicaView, to_json
from weavelet.weaver.views import control_view

UNKNOWN_AFTER = 5.0
FORGOTTEN_AFTER = 60.0
LISTEN_SECONDS = 2.0
"""Time that a weaver listens before it knows who lives, with what: two heartbeats."""
REVIVED_AFTER = 5.0
"""Seconds after its end from which a heartbeat says that a life goes on; none is underway then."""
MOST_LIVES = 16
"""Incarnations of one replica that are kept."""
MOST_REFUSED = 64
"""Incarnations of one replica of which it is remembered that they were refused control."""
MOST_DEVICES = 64
"""Devices of one replica: more than any host has."""
_LONGEST_ID = 128
_ENDED = frozenset({"exited", "crashed"})
_CONFLICT: ReplicaState = "conflict"


@dataclass(slots=True)
class Incarnation:
    """One life of a replica. `order` is the sequence of its first registration.

    `reported` says that samples of it came while the weaver listened; `answered` is the sequence of
    the last entry whose outcome was read.
    """

    identity: Identity
    order: int
    registered: float
    heard: float
    state: ReplicaState = "starting"
    reason: str | None = None
    ended_at: float = math.inf
    step: int | None = None
    beat: Heartbeat | None = None
    metrics: dict[str, Scalar] = field(default_factory=dict)
    reported: bool = False
    controls: tuple[ControlSpec, ...] = ()
    views: list[ControlView] = field(default_factory=list)
    notices: frozenset[str] = frozenset()
    answered: int = 0

    def take_values(self, values: Mapping[str, Value]) -> None:
        """Controls have these values now."""
        if not values:
            return
        for at, spec in enumerate(self.controls):
            # By their text: NaN is what it is.
            if spec.name in values and repr(spec.value) != repr(values[spec.name]):
                new = replace(spec, value=values[spec.name])
                self.controls = (*self.controls[:at], new, *self.controls[at + 1 :])
                self.views = [*self.views[:at], control_view(new), *self.views[at + 1 :]]

    @property
    def config_hash(self) -> str:
        """Of all effective control values, as it said last."""
        return self.beat.config_hash if self.beat else ""

    @property
    def devices(self) -> tuple[Device, ...]:
        """Those that it uses, as it said last."""
        said = self.beat.devices[:MOST_DEVICES] if self.beat else ()
        return tuple(device for device in said if 0 < len(device.id) <= _LONGEST_ID)

    @property
    def ended(self) -> bool:
        """Whether this life is over, as far as anybody said."""
        return self.state in _ENDED

    def state_at(self, now: float) -> ReplicaState:
        """The state to show."""
        if self.ended or now - self.heard <= UNKNOWN_AFTER:
            return self.state
        return "unknown"


@dataclass(slots=True)
class Replica:
    """One replica of a job, over all its incarnations that still matter.

    `refused` names the incarnations that do not have control and, if they are over, never had it.
    """

    incarnations: dict[str, Incarnation] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)
    version: int = 0
    shown: tuple[tuple[str, str], ...] = ()

    @property
    def current(self) -> Incarnation:
        """The newest incarnation that was not refused control."""
        lives = self.incarnations.values()
        if len(lives) == 1:  # nearly always, and asked for all the time
            return next(iter(lives))
        accepted = [life for name, life in self.incarnations.items() if name not in self.refused]
        return max(accepted or lives, key=lambda life: life.order)

    @property
    def disputed(self) -> bool:
        """Whether another incarnation than the current one may have control, as far as is known."""
        if len(self.incarnations) == 1:
            return False
        current = self.current
        return any(
            not life.ended and life is not current and name not in self.refused
            for name, life in self.incarnations.items()
        )

    def accept(self, life: Incarnation) -> None:
        """An incarnation has control: a later one that is over already never had it."""
        self.refused.pop(life.identity.incarnation, None)
        current = self.current
        if current is life or not current.ended:
            return
        for other in self.incarnations.values():
            if other.ended and other.order > life.order:
                self.refuse(other)

    def refuse(self, life: Incarnation) -> None:
        """An incarnation does not have control, as another one has it."""
        self.refused[life.identity.incarnation] = None
        if len(self.refused) > MOST_REFUSED:
            del self.refused[next(iter(self.refused))]

    def reigned(self, incarnation: str, at: float) -> bool:
        """Whether an incarnation had control at a time, as far as is known."""
        life = self.incarnations.get(incarnation)
        if incarnation in self.refused or life is None:
            return incarnation not in self.refused
        return not any(
            # What is said of an end comes a little later than the next one begins.
            other.ended and other.order < life.order and at < other.ended_at - UNKNOWN_AFTER
            for name, other in self.incarnations.items()
            if name not in self.refused
        )

    def rows(self, now: float) -> list[tuple[Incarnation, ReplicaState]]:
        """The current incarnation, then those that claim its place while it lives."""
        current = self.current
        rivals = [
            (life, _CONFLICT)
            for life in self.incarnations.values()
            if life is not current
            and life.state_at(now) not in ("unknown", *_ENDED)
            and (life.state == "conflict" or life.heard > current.registered)
        ]
        return [(current, current.state_at(now)), *rivals]

    def lives(self, now: float, since: float) -> bool:
        """Whether commands should wait for it; `since` is when the weaver began to listen."""
        if now - since <= LISTEN_SECONDS and self.disputed:
            return True
        life = self.current
        return not life.ended and now - max(life.heard, since) <= FORGOTTEN_AFTER

    def add(self, life: Incarnation) -> None:
        """A new incarnation; beyond `MOST_LIVES` another than the current goes, first the ended."""
        self.incarnations[life.identity.incarnation] = life
        if len(self.incarnations) > MOST_LIVES:
            current = self.current
            others = (one for one in self.incarnations.values() if one is not current)
            oldest = min(others, key=lambda one: (not one.ended, one.heard))
            del self.incarnations[oldest.identity.incarnation]

    def prune(self, now: float, since: float) -> None:
        """Forget incarnations that are over and were followed by another.

        Not soon after `since`, when the weaver began to listen: one that has control may not have
        been heard yet, and the others show that it is the older one.
        """
        if now - since <= FORGOTTEN_AFTER:
            return
        current = self.current
        self.incarnations = {
            name: life
            for name, life in self.incarnations.items()
            if life is current or not (life.ended or now - life.heard > FORGOTTEN_AFTER)
        }


@dataclass(slots=True)
class Job:
    """One launch of a run. `order` and `begun` are its Begin's sequence and server time.

    `version` is that of its own last change, `touched` that of its last one or a replica's.
    """

    run: str
    name: str
    order: float = math.inf
    begun: float = 0.0
    frozen_by: str | None = None
    replicas: dict[str, Replica] = field(default_factory=dict)
    version: int = 0
    touched: int = 0
    shown: tuple[bool, bool, str | None, float] | None = None
    slowest: str | None = None
    differs_since: float | None = None
    diverged: str | None = None

    def work(self, now: float) -> dict[str, float | None]:
        """Seconds that a step takes each replica that trains on its own."""
        return {
            name: _seconds(replica.current.beat.work)
            for name, replica in self.replicas.items()
            if replica.current.beat and replica.current.state_at(now) == "running"
        }

    @property
    def live(self) -> bool:
        """Whether any of its replicas lives, as it was last shown."""
        return self.shown is not None and self.shown[0]

    @property
    def over(self) -> bool:
        """Whether the passing of time changes nothing of it, as it was last shown."""
        return not self.live and all(len(one.shown) <= 1 for one in self.replicas.values())

    def view(self, replicas: list[ReplicaView]) -> JobView:
        """The job as it was last shown, with these of its replicas."""
        live, newest, frozen_by, begun = self.shown or (False, False, self.frozen_by, self.begun)
        return JobView(
            run=self.run,
            job=self.name,
            live=live,
            newest=newest,
            begun=begun,
            frozen_by=frozen_by,
            slowest=self.slowest,
            diverged=self.diverged,
            replicas=replicas,
        )


def replica_view(life: Incarnation, state: ReplicaState, now: float) -> ReplicaView:
    """An incarnation as clients see it."""
    who, beat = life.identity, life.beat
    return ReplicaView(
        run=who.run,
        job=who.job,
        replica=who.replica,
        incarnation=who.incarnation,
        state=state,
        reason=life.reason,
        step=life.step,
        rate=beat.rate if beat and math.isfinite(beat.rate) else 0.0,
        rank=who.rank,
        world_size=who.world_size,
        host=who.host,
        pid=who.pid,
        device=", ".join(device.id for device in life.devices),
        section=beat.section if beat else None,
        sampled=beat.sampled if beat else 0,
        dropped=beat.dropped if beat else 0,
        heard=round(max(0.0, now - life.heard), 3),
        metrics=to_json(life.metrics),
        vitals=_finite(beat.vitals) if beat else {},
        devices=[device.id for device in life.devices],
        work=_seconds(beat.work) if beat else None,
        controls=life.views,
        config_hash=life.config_hash,
    )


def _seconds(work: float | None) -> float | None:
    return work if work is not None and math.isfinite(work) and work >= 0 else None


def _finite(vitals: dict[str, float]) -> dict[str, float]:
    """Without the words for what is no number, which no client would take for one."""
    return {name: value for name, value in vitals.items() if math.isfinite(value)}

"""All runs, jobs and replicas, folded from what replicas say of themselves.

Pure: `now` and `at` are seconds on a monotonic clock, passed in. `at` is when a thing was said,
which for a message out of a stream is earlier than when it is read.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

from msgspec.structs import replace

from weavelet.exceptions import CommandError
from weavelet.messages import Heartbeat, Lifecycle, Outcome, Registration, ReportBatch
from weavelet.weaver.devices import device_views
from weavelet.weaver.divergence import look
from weavelet.weaver.history import MOST_CHARACTERS, MOST_NAMES
from weavelet.weaver.lives import REVIVED_AFTER, Incarnation, Job, Replica, replica_view
from weavelet.weaver.protocol import DeviceView, JobView, ReplicaView, Snapshot, StatusUpdate
from weavelet.weaver.roll import Roll
from weavelet.weaver.stragglers import slowest
from weavelet.weaver.views import control_view

LOOK_SECONDS = 1.0
"""Time between two looks at what changes all the time: devices, and the settings of ranks."""

_MOST_REMOVED = 1000
_MOST_TEXT = 1000


class Fleet:
    """What the weaver knows. Every change raises `version`, so that clients can be sent deltas."""

    def __init__(self, now: float) -> None:
        self.since = now
        self.version = 1
        self._reset = 1
        self.runs: dict[str, dict[str, Job]] = {}
        self._roll = Roll()
        self._newest: dict[str, Job] = {}
        self._removed: list[tuple[int, str, str]] = []
        self._devices: list[DeviceView] = []
        self._devices_version = 0
        self._looked_at = -math.inf

    # What was said.

    def began(self, run: str, job: str, sequence: int, time: float) -> None:
        """A job's control log begins, at this place in the stream and this server time."""
        found = self._job(run, job)
        found.order, found.begun = sequence, time

    def froze(self, run: str, job: str, author: str | None) -> None:
        """A job was frozen by `author`, or unfrozen (None)."""
        self._job(run, job).frozen_by = author

    def registered(self, registration: Registration, sequence: int, at: float) -> None:
        """A replica announced itself or its controls."""
        who = registration.identity
        job = self._job(who.run, who.job)
        replica = job.replicas.setdefault(who.replica, Replica())
        life = replica.incarnations.get(who.incarnation)
        if life is None:
            life = Incarnation(who, sequence, at, at)
            replica.add(life)
        life.identity, life.order = who, life.order or sequence
        life.heard = max(life.heard, at)
        life.controls = registration.controls
        life.notices = frozenset(registration.notices)
        life.views = [control_view(spec) for spec in registration.controls]
        self._touch(job, replica)

    def ended(self, run: str, job: str, said: Lifecycle, at: float) -> None:
        """An incarnation ended, or met another one."""
        life = self._heard(run, job, said.replica, said.incarnation, at)
        if life is None:
            return
        life.state, life.reason, life.ended_at = said.state, said.reason, at
        life.step = said.step if said.step is not None else life.step
        replica = self.runs[run][job].replicas[said.replica]
        if said.state == "conflict":
            replica.refuse(life)
        elif said.incarnation not in replica.refused:
            replica.accept(life)

    def beat(self, run: str, job: str, said: Heartbeat, at: float) -> bool:
        """A sign of life. Returns whether it is of a replica's current incarnation."""
        if said.state == "conflict":
            self._stranger(run, job, said, at)
        self._revive(run, job, said, at)
        life = self._heard(run, job, said.replica, said.incarnation, at)
        if life is None:
            return False
        life.beat = said
        life.state = said.state
        life.step = said.step if said.step is not None else life.step
        if said.state != "conflict":
            life.reason = None
        if said.received >= life.answered:
            life.take_values(said.control_values)
        replica = self.runs[run][job].replicas[said.replica]
        if said.state == "conflict":
            replica.refuse(life)
        elif not said.claiming:
            replica.accept(life)
        return life is replica.current

    def reported(self, run: str, job: str, batch: ReportBatch, at: float) -> bool:
        """Samples came. Returns whether they are of a replica's current incarnation.

        The last ones of a life come after its end, which a sidecar says first.
        """
        found = self._find(run, job, batch.replica)
        life = self.incarnation_of(run, job, batch)
        if found is None or life is None:
            return False
        if not life.ended:
            life.heard = max(life.heard, at)
        self._touch(self.runs[run][job], found)
        life.reported = True
        _take_last(life, batch)
        return life is found.current

    def incarnation_of(self, run: str, job: str, batch: ReportBatch) -> Incarnation | None:
        """Whose samples these are, None before it is known."""
        found = self._find(run, job, batch.replica)
        return found.incarnations.get(batch.incarnation) if found else None

    def recalled(self, run: str, job: str, batch: ReportBatch, at: float) -> bool:
        """Samples of the past were read. Returns whether they belong to the replica's history."""
        found = self._find(run, job, batch.replica)
        if found is None:
            return False
        life = found.incarnations.get(batch.incarnation)
        if life is not None and not life.reported:
            if not life.ended:
                life.heard = max(life.heard, at)
            if life.beat is None and not life.ended and batch.steps:
                life.step = batch.steps[-1]
            _take_last(life, batch)
            self._touch(self.runs[run][job], found)
        return found.reigned(batch.incarnation, at)

    def refused(self, run: str, job: str, batch: ReportBatch) -> bool:
        """Whether samples are of an incarnation that was refused control."""
        found = self._find(run, job, batch.replica)
        return found is not None and batch.incarnation in found.refused

    def disputed(self, run: str, job: str, replica: str) -> bool:
        """Whether it is not known yet which incarnation of a replica has control."""
        found = self._find(run, job, replica)
        return found is not None and found.disputed

    def forget(self, run: str, job: str) -> None:
        """Drop a job, as if it had never been."""
        jobs = self.runs.get(run, {})
        gone = jobs.pop(job, None)
        if gone is None:
            return
        self._roll.forget(gone)
        if self._newest.get(run) is gone:
            del self._newest[run]
        if jobs:
            # Another one of the run may be its newest now.
            self._roll.wake(next(iter(jobs.values())))
        else:
            del self.runs[run]
        self.version += 1
        self._removed.append((self.version, run, job))
        if len(self._removed) > _MOST_REMOVED:
            # Whoever has not heard of this one yet is told everything.
            self._reset, _, _ = self._removed.pop(0)

    def clear(self, now: float) -> None:
        """Forget everything: the streams are others than before."""
        self.since = now
        self.version += 1
        self._reset = self.version
        self.runs.clear()
        self._roll.clear()
        self._newest.clear()
        self._removed.clear()
        self._looked_at = -math.inf

    # What is so.

    def find(self, run: str, job: str | None, now: float) -> Job:
        """The job that a command names, by default the newest of the run.

        Raises:
            CommandError: `unknown_run` or `unknown_job`, with the known ones.
        """
        jobs = self.runs.get(run)
        if not jobs:
            raise CommandError("unknown_run", f"There is no run {run!r}.", known=sorted(self.runs))
        if job is None:
            return self.newest(run, now)
        if job not in jobs:
            text = f"run {run!r} has no job named {job!r}"
            raise CommandError("unknown_job", text, known=sorted(jobs))
        return jobs[job]

    def newest(self, run: str, now: float) -> Job:
        """The newest live job of a run, the newest of all if none is live."""
        live = [job for job in self._roll.of(run) if self.is_live(job, now)]
        return max(live or self.runs[run].values(), key=lambda job: job.order)

    def live(self, now: float) -> list[Job]:
        """All live jobs."""
        return [job for job in self._roll.jobs() if self.is_live(job, now)]

    def is_live(self, job: Job, now: float) -> bool:
        """Whether any replica of the job lives."""
        return any(replica.lives(now, self.since) for replica in job.replicas.values())

    def addressed(self, job: Job, replicas: Sequence[str], now: float) -> tuple[str, ...]:
        """The replicas that owe an outcome to a command for `replicas` (empty: all that live).

        Raises:
            CommandError: `unknown_replica` with the known ones, or `not_live`.
        """
        alive = [name for name, replica in job.replicas.items() if replica.lives(now, self.since)]
        for name in replicas:
            if name not in job.replicas:
                text = f"job {job.name!r} of run {job.run!r} has no replica named {name!r}"
                raise CommandError("unknown_replica", text, known=sorted(job.replicas))
            current = job.replicas[name].current
            if current.ended and name not in alive:
                text = f"replica {name!r} has {current.state}"
                raise CommandError("not_live", text, known=sorted(alive))
        if not replicas and not alive:
            raise CommandError("not_live", self._why_not_live(job, now))
        return tuple(dict.fromkeys(replicas or alive))

    def gone(self, run: str, job: str, replica: str, now: float) -> str | None:
        """Why a replica will not answer any more, None while it may."""
        found = self._find(run, job, replica)
        if found is None or not found.current.ended or found.lives(now, self.since):
            return None
        return f"{found.current.state} before it answered"

    def silent(self, run: str, job: str, replica: str, now: float) -> bool:
        """Whether a replica has not been heard for so long that nobody should wait for it."""
        found = self._find(run, job, replica)
        return found is None or not found.lives(now, self.since)

    def incarnation(self, run: str, job: str, replica: str) -> str:
        """The current incarnation of a replica, empty if there is none."""
        found = self._find(run, job, replica)
        return found.current.identity.incarnation if found else ""

    # What clients are told.

    def snapshot(self, now: float, runs: Collection[str] = ()) -> list[JobView]:
        """All jobs of `runs` (empty: of all) with their replicas, as of the last `tick`."""
        return [
            job.view(self._rows(job, now))
            for run in (sorted(runs) or self.runs)
            for job in self.runs.get(run, {}).values()
        ]

    def devices(self, runs: Collection[str] = ()) -> list[DeviceView]:
        """All devices that live replicas of `runs` (empty: of all) use, as of the last `tick`."""
        if not runs:
            return self._devices
        return [one for one in self._devices if any(run in runs for run, _, _ in one.replicas)]

    def changes(
        self, since: int, now: float, runs: Collection[str] = ()
    ) -> Snapshot | StatusUpdate | None:
        """What changed from version `since` to the last `tick`; a snapshot after a `clear`.

        All rows of a changed replica come together; `removed` comes before `jobs`.
        """
        if since < self._reset:
            return Snapshot(jobs=self.snapshot(now, runs), devices=self.devices(runs))
        jobs = [job for job in self._roll.since(since) if not runs or job.run in runs]
        replicas: list[ReplicaView] = []
        for job in jobs:
            replicas += self._rows(job, now, since)
        changed = [job.view([]) for job in jobs if job.version > since]
        removed = [(run, job) for version, run, job in self._removed if version > since]
        devices = self.devices(runs) if self._devices_version > since else None
        if not (replicas or changed or removed or devices is not None):
            return None
        return StatusUpdate(jobs=changed, replicas=replicas, removed=removed, devices=devices)

    def tick(self, now: float) -> None:
        """Find what changed by the passing of time: who fell silent, which job is the newest."""
        for run in self._roll.runs():
            self._tick_run(run, now)
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._tick_devices(now)
            self._tick_settings(now)

    def _tick_run(self, run: str, now: float) -> None:
        newest, before = self.newest(run, now), self._newest.get(run)
        if newest is not before:
            self._newest[run] = newest
            for job in (before, newest):
                if job is not None:
                    self._roll.wake(job)
        for job in self._roll.of(run):
            self._tick_job(job, now, newest=job is newest)

    def _tick_job(self, job: Job, now: float, *, newest: bool) -> None:
        shown = (self.is_live(job, now), newest, job.frozen_by, job.begun)
        slow = slowest(job.work(now), job.slowest)
        if (shown, slow) != (job.shown, job.slowest):
            job.shown, job.slowest = shown, slow
            self._touch(job, job)
        for replica in job.replicas.values():
            self._tick_replica(job, replica, now)

    def _tick_settings(self, now: float) -> None:
        for job in self._roll.jobs():
            if look(job, now):
                self._touch(job, job)
            if job.over:
                self._roll.rest(job)

    def _tick_devices(self, now: float) -> None:
        lives = (
            replica.current
            for job in self._roll.jobs()
            for replica in job.replicas.values()
            if replica.lives(now, self.since)
        )
        devices = device_views(lives)
        if devices != self._devices:
            self._devices = devices
            self.version += 1
            self._devices_version = self.version

    def _tick_replica(self, job: Job, replica: Replica, now: float) -> None:
        rows = replica.rows(now)
        shown = tuple((life.identity.incarnation, state) for life, state in rows)
        if shown == replica.shown:
            return
        replica.shown = shown
        self._touch(job, replica)
        replica.prune(now, self.since)

    def _rows(self, job: Job, now: float, since: int = -1) -> list[ReplicaView]:
        return [
            replica_view(life, state, now)
            for replica in job.replicas.values()
            if replica.version > since
            for life, state in replica.rows(now)
        ]

    def jobs(self) -> Iterator[Job]:
        """All jobs of all runs."""
        for jobs in self.runs.values():
            yield from jobs.values()

    def _job(self, run: str, job: str) -> Job:
        found = self.runs.setdefault(run, {}).setdefault(job, Job(run, job))
        self._roll.wake(found)
        return found

    def _find(self, run: str, job: str, replica: str) -> Replica | None:
        found = self.runs.get(run, {}).get(job)
        return found.replicas.get(replica) if found else None

    def _heard(
        self, run: str, job: str, replica: str, incarnation: str, at: float
    ) -> Incarnation | None:
        found = self._find(run, job, replica)
        life = found.incarnations.get(incarnation) if found else None
        if found is None or life is None or life.ended:
            return None
        life.heard = max(life.heard, at)
        self._touch(self.runs[run][job], found)
        return life

    def answered(self, run: str, job: str, said: Outcome, at: float) -> None:
        """A replica decided an entry; what it changed are the values of its controls now."""
        life = self._heard(run, job, said.replica, said.incarnation, at)
        if life is None:
            return
        replica = self.runs[run][job].replicas[said.replica]
        if said.incarnation not in replica.refused:
            replica.accept(life)
        life.answered = max(life.answered, said.sequence)
        if said.kind == "applied":
            life.take_values({change.name: change.new for change in said.changes})

    def unbegun(self, now: float) -> list[Job]:
        """Live jobs without a Begin."""
        return [job for job in self.live(now) if math.isinf(job.order)]

    def _stranger(self, run: str, job: str, said: Heartbeat, at: float) -> None:
        # One that was refused control may never register; it is shown all the same.
        found = self._find(run, job, said.replica)
        if found is not None and said.incarnation not in found.incarnations:
            who = replace(found.current.identity, incarnation=said.incarnation, pid=0, host="")
            found.add(Incarnation(who, 0, at, at))

    def _revive(self, run: str, job: str, said: Heartbeat, at: float) -> None:
        # Whoever beats has not ended, whatever the stream says.
        found = self._find(run, job, said.replica)
        life = found.incarnations.get(said.incarnation) if found else None
        if life is not None and life.ended and at - life.ended_at > REVIVED_AFTER:
            life.state = "starting"

    def _touch(self, job: Job, changed: Job | Replica) -> None:
        self.version += 1
        changed.version = self.version
        self._roll.touch(job, self.version)

    def _why_not_live(self, job: Job, now: float) -> str:
        lost = [name for name, replica in job.replicas.items() if not replica.current.ended]
        if not lost:
            return f"no replica of job {job.name!r} of run {job.run!r} runs any more"
        last = min(now - job.replicas[name].current.heard for name in lost)
        return (
            f"no replica of job {job.name!r} of run {job.run!r} has been heard for {last:.0f} s; "
            f"name it to command it all the same: {', '.join(sorted(lost)[:8])}"
        )


def _take_last(life: Incarnation, batch: ReportBatch) -> None:
    for name, column in batch.columns.items():
        last = next((value for value in reversed(column) if value is not None), None)
        if last is not None and (name in life.metrics or _has_room(life, name)):
            life.metrics[name] = last[:_MOST_TEXT] if isinstance(last, str) else last


def _has_room(life: Incarnation, name: str) -> bool:
    if len(life.metrics) >= MOST_NAMES:
        return False
    return sum(map(len, life.metrics)) + len(name) <= MOST_CHARACTERS

"""From events outside to notices in the control logs of the jobs that they concern. Pure.

An event of a monitoring system is told to the replicas that use the device, or run on the host. If
something failed, the other replicas of their job are told of a `replica_failed`, those that have a
handler for it; so they are when a replica crashes by itself.

Several weavers may read one event: a notice has an id made of the event's place in its stream and
of the job, so that one is stored once. Which events are told already is read from the logs.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weavelet.messages import Entry, External, Notice
from weavelet.weaver.fleet import Fleet
from weavelet.weaver.lives import LISTEN_SECONDS, Job, Replica
from weavelet.weaver.log import AUTHOR, JobLog

REPLICA_FAILED = "replica_failed"
FAILURES = frozenset({"device_failed", "host_failed"})
"""Kinds of events after which a replica that they concern counts as failed."""

FRESH_SECONDS = 60.0
"""How long after it happened an event is still told."""
REPEAT_SECONDS = 60.0
"""Time within which the same event is told once, however often a monitoring system repeats it."""
MOST_NOTICES = 60
"""Notices to one job within `REPEAT_SECONDS`; what is beyond is left out."""

_MOST_WAITING = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `place` is where the streams have it, `at` when, monotonic.

    `crashed` is the (run, job, replica, incarnation) that ended by itself, None for an event from
    outside.
    """

    place: str
    at: float
    external: External
    crashed: tuple[str, str, str, str] | None = None


def crash(sequence: int, at: float, who: tuple[str, str, str, str], reason: str | None) -> Event:
    """The event that an incarnation crashed, as the outcome stream says at `sequence`."""
    detail = {"reason": reason} if reason else {}
    external = External(source="", kind="crashed", detail=detail)
    return Event(f"outcome {sequence}", at, external, who)


class Events:
    """What happened and is still to be told. `left_out` counts notices beyond the bounds."""

    def __init__(self) -> None:
        self.left_out = 0
        self._waiting: deque[Event] = deque()

    def happened(self, event: Event) -> None:
        """Take an event in."""
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self.left_out += 1
        self._waiting.append(event)

    def clear(self) -> None:
        """Drop everything."""
        self._waiting.clear()

    def due(
        self, fleet: Fleet, logs: Mapping[tuple[str, str], JobLog], now: float
    ) -> list[tuple[Job, Entry]]:
        """The notices to append now. They come again until they are read back, or too old."""
        if not self._waiting or now - fleet.since < LISTEN_SECONDS:
            return []
        found: list[tuple[Job, Entry]] = []
        for event in list(self._waiting):
            if _undecided(event, fleet, now):
                continue
            fresh = now - event.at <= FRESH_SECONDS
            notices = self._untold(event, fleet, logs, now, found) if fresh else []
            if not notices:
                self._waiting.remove(event)
            found += notices
        return found

    def _untold(
        self,
        event: Event,
        fleet: Fleet,
        logs: Mapping[tuple[str, str], JobLog],
        now: float,
        before: Sequence[tuple[Job, Entry]],
    ) -> list[tuple[Job, Entry]]:
        found = []
        for job, entry in notices(event, fleet, now):
            told = [one for at, one in before if at is job]
            if log := logs.get((job.run, job.name)):
                told += _recent(log, now)
            if any(one.id == entry.id or _same(one, entry) for one in told):
                continue
            if len(told) >= MOST_NOTICES:
                self.left_out += 1
                continue
            found.append((job, entry))
        return found


def notices(event: Event, fleet: Fleet, now: float) -> Iterator[tuple[Job, Entry]]:
    """What each job is to be told of an event."""
    external = event.external
    said: dict[str, Any] = {"host": external.host, "device": external.device}
    said = {**external.detail, **{name: text for name, text in said.items() if text}}
    for job in fleet.live(now):
        live = {name: one for name, one in job.replicas.items() if one.lives(now, fleet.since)}
        concerned = _concerned(event, job, live)
        if not concerned:
            continue
        if event.crashed is None:
            yield job, _entry(event, job, Notice(external.kind, said), concerned)
            if external.kind not in FAILURES:
                continue
        others = tuple(
            name
            for name, replica in live.items()
            if name not in concerned and REPLICA_FAILED in replica.current.notices
        )
        if others:
            detail = {**said, "replicas": list(concerned), "cause": external.kind}
            yield job, _entry(event, job, Notice(REPLICA_FAILED, detail), others)


def _undecided(event: Event, fleet: Fleet, now: float) -> bool:
    """Whether the next heartbeats are to show if whoever crashed was the replica at all."""
    return (
        event.crashed is not None
        and now - event.at < LISTEN_SECONDS
        and fleet.disputed(*event.crashed[:3])
    )


def _concerned(event: Event, job: Job, live: Mapping[str, Replica]) -> tuple[str, ...]:
    if event.crashed is not None:
        run, name, replica, incarnation = event.crashed
        if (run, name) != (job.run, job.name):
            return ()
        known = job.replicas.get(replica)
        return () if known is not None and incarnation in known.refused else (replica,)
    device, host = event.external.device.lower(), event.external.host
    if device:
        return tuple(
            name
            for name, replica in live.items()
            if any(one.id.lower() == device for one in replica.current.devices)
        )
    return tuple(
        name for name, replica in live.items() if _same_host(host, replica.current.identity.host)
    )


def _same_host(one: str, other: str) -> bool:
    """Whether two names are of one host, where one of them may lack the domain."""
    one, other = one.lower().rstrip("."), other.lower().rstrip(".")
    if not one or not other:
        return False
    if "." in one and "." in other:
        return one == other
    return one.partition(".")[0] == other.partition(".")[0]


def _entry(event: Event, job: Job, notice: Notice, replicas: tuple[str, ...]) -> Entry:
    where = f"{event.place} {job.run} {job.name} {notice.kind}"
    digest = hashlib.sha256(where.encode()).hexdigest()[:16]
    return Entry(
        id=f"notice-{digest}",
        author=f"external.{event.external.source}" if event.crashed is None else AUTHOR,
        body=notice,
        targets=replicas,
        addressed=replicas,
    )


def _recent(log: JobLog, now: float) -> Iterator[Entry]:
    for life in reversed(log.notices):
        if now - life.at > REPEAT_SECONDS:
            return
        yield life.entry


def _same(told: Entry, entry: Entry) -> bool:
    """Whether an entry says what was told already. A crash is never the same as another."""
    if told.author != entry.author or entry.author == AUTHOR:
        return False
    return _what(told) == _what(entry)


def _what(entry: Entry) -> tuple[object, ...]:
    body = entry.body
    if not isinstance(body, Notice):
        return (entry.id,)
    return (body.kind, *(body.detail.get(name) for name in ("host", "device", "cause")))

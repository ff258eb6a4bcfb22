"""A record of applied changes, as `weavelet export` writes it: read, checked, put to steps."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from weavelet.exceptions import ReplayError
from weavelet.messages import (
    RECORD_VERSION,
    Act,
    Adopt,
    AppliedSet,
    Change,
    Deliver,
    Entry,
    Position,
    Recorded,
    RecordedAct,
    RecordedSet,
    Set,
    Value,
)

_log = logging.getLogger("weavelet")

_decoder: msgspec.json.Decoder[Recorded] = msgspec.json.Decoder(Recorded)


class Due(msgspec.Struct, frozen=True):
    """What a replica is to be brought at a step; `records` are what it repeats, by sequence."""

    step: int
    message: Deliver | Adopt
    records: dict[int, Recorded]


def read(path: Path) -> list[Recorded]:
    """All records of a file.

    Raises:
        ReplayError: it cannot be read, or a line of it is damaged or of another version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ReplayError(str(path), f"cannot be read: {error.strerror or error}") from error
    records: list[Recorded] = []
    seen: dict[tuple[str, str, str], int] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        record = _record(str(path), number, line)
        first = seen.setdefault((record.entry, record.replica, record.incarnation), number)
        if first != number:
            text = f"repeats line {first}, but an entry is applied once; remove one of them"
            raise ReplayError(str(path), text, line=number)
        records.append(record)
    return records


class _Version(msgspec.Struct):
    version: int


def _record(path: str, number: int, line: bytes) -> Recorded:
    try:
        version = msgspec.json.decode(line, type=_Version).version
        if version == RECORD_VERSION:
            return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = f"is no record of an applied change ({error}); export the run again"
        raise ReplayError(path, text, line=number) from None
    text = (
        f"is a record of version {version}, but this weavelet reads {RECORD_VERSION}; replay it "
        "with the weavelet that exported it, or export the run again with this one"
    )
    raise ReplayError(path, text, line=number)


def of_replica(
    path: Path, records: Sequence[Recorded], run: str, replica: str, *, named: bool = True
) -> list[Recorded]:
    """The records of one replica of a run, in the order in which it applied them.

    Where nobody `named` the replica, the only one that the file holds will do.

    Raises:
        ReplayError: they are of another run, of several jobs, or of other replicas only.
    """
    runs = sorted({record.run for record in records})
    if any(found != run for found in runs):
        text = (
            f"is of run {', '.join(runs)}, but this is run {run!r}; export that one, or name the "
            "session's: session(run=...) or WEAVELET_RUN"
        )
        raise ReplayError(str(path), text)
    jobs = sorted({record.job for record in records})
    if len(jobs) > 1:
        text = f"holds the jobs {', '.join(jobs)}; export one of them with --job"
        raise ReplayError(str(path), text)
    replicas = sorted({record.replica for record in records})
    if not named and len(replicas) == 1:
        replica = replicas[0]
    if replicas and replica not in replicas:
        text = (
            f"holds nothing of replica {replica!r}, but of {', '.join(replicas)}; name the one to "
            "replay: session(replica_id=...) or WEAVELET_REPLICA"
        )
        raise ReplayError(str(path), text)
    return _one_life(path, [record for record in records if record.replica == replica])


def _one_life(path: Path, records: Sequence[Recorded]) -> list[Recorded]:
    """The lives of a replica as one: from its first step on, a later one replaces an earlier."""
    lives: dict[str, list[Recorded]] = {}
    for record in records:
        lives.setdefault(record.incarnation, []).append(record)
    if len(lives) > 1:
        _log.info("%s holds %d lives of this replica; they are replayed as one", path, len(lives))
    kept: list[Recorded] = []
    for life in sorted(lives.values(), key=_place_in_log):
        first = min(record.step for record in life)
        kept = [record for record in kept if record.step < first]
        # What is adopted comes first in its life, whatever else is applied at the same step.
        kept += sorted(life, key=lambda record: (record.step, not record.adopted))
    return kept


def _place_in_log(life: Sequence[Recorded]) -> tuple[int, bool]:
    """Later for a later life, which adopts what an earlier one had applied."""
    return max((record.sequence, record.adopted) for record in life)


def schedule(records: Sequence[Recorded]) -> list[Due]:
    """What to bring at which step. Sets that were adopted together are adopted together."""
    due = []
    numbered = enumerate(records, 1)
    for _, group in itertools.groupby(numbered, key=_occasion):
        members = dict(group)
        due.append(Due(next(iter(members.values())).step, _message(members), members))
    return due


def _occasion(item: tuple[int, Recorded]) -> object:
    number, record = item
    return (record.step, record.incarnation) if record.adopted else number


def _message(records: dict[int, Recorded]) -> Deliver | Adopt:
    first = next(iter(records.values()))
    position = Position("replay", max(records))
    if first.adopted:
        sets = tuple(
            AppliedSet(record.entry, number, record.author, record.values)
            for number, record in records.items()
            if isinstance(record, RecordedSet)
        )
        return Adopt(sets, position)
    if isinstance(first, RecordedAct):
        body: Act | Set = Act(first.action, first.arguments)
    else:
        body = Set(first.values)
    return Deliver(Entry(id=first.entry, author=first.author, body=body), position)


def differences(record: Recorded, changes: Sequence[Change]) -> list[str]:
    """Where changes made now differ from those recorded, in words."""
    if not isinstance(record, RecordedSet):
        return []
    made = {change.name: change for change in changes}
    found = []
    for was in record.changes:
        now = made.get(was.name)
        if now is None:
            found.append(f"{was.name} was not changed, then {was.old!r} -> {was.new!r}")
        elif (_worded(now.old), _worded(now.new)) != (_worded(was.old), _worded(was.new)):
            found.append(
                f"{was.name} {now.old!r} -> {now.new!r} now, {was.old!r} -> {was.new!r} then"
            )
    return found


def _worded(value: Value) -> Value:
    """A value with non-finite floats as the words that stand for them in a record."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: _worded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_worded(item) for item in value]
    return value

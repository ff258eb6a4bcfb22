"""Past samples of every replica, thinned out as they grow in number. Pure.

A curve holds points; each stands for some samples in a row by their least, greatest and mean value.
When it is full, neighbours are merged, so that it goes back to its first sample however long it
grows. What is not finite is merged with its like alone and stays visible. All curves share one
room: the more there are, the fewer points each has.
"""

from __future__ import annotations

import math
from array import array
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from itertools import starmap
from typing import NamedTuple

from weavelet.exceptions import CommandError
from weavelet.messages import ReportBatch, Scalar
from weavelet.weaver import protocol
from weavelet.weaver.lives import Job
from weavelet.weaver.protocol import ReadHistory, Series, to_json
from weavelet.weaver.views import shown_time

ROOM = 1_000_000
"""Points of all curves together, of 48 bytes each."""
LONGEST, SHORTEST = 2048, 64
"""Points of one curve, where there is room and where there is none."""
MOST_CURVES = 20_000
MOST_NAMES = 500
MOST_CHARACTERS = 100_000
"""How many metrics one replica may have, and how long their names may be together."""
MOST_ANSWERED = 100_000
"""Points in the answers to one request, all series together."""

Key = tuple[str, str, str]
"""(run, job, replica)."""


class Point(NamedTuple):
    """`samples` in a row from `step` on, the first of them taken at the time `at`."""

    step: int
    at: float
    low: float
    high: float
    mean: float
    samples: int


class Curve:
    """One metric of one replica, in the order in which it was reported."""

    __slots__ = ("_columns", "_stride")

    def __init__(self) -> None:
        self._columns = _columns(())
        self._stride = 1

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(self, step: int, at: float, value: float, most: int) -> None:
        """Take a sample in; then there are at most `most` points."""
        steps, _, lows, highs, means, samples = self._columns
        if steps and samples[-1] < self._stride and _alike(lows[-1], value):
            samples[-1] += 1
            lows[-1], highs[-1] = min(lows[-1], value), max(highs[-1], value)
            means[-1] += value / samples[-1] - means[-1] / samples[-1]
            return
        if len(steps) >= most:
            self._stride *= -(-len(steps) // (most // 2))
            self._columns = _columns(thinned(self.points(), most // 2))
        self._columns.append(Point(step, at, value, value, value, 1))

    def cut(self, step: int) -> None:
        """Drop what comes at or after a step at its end: it is trained once more."""
        steps = self._columns[0]
        while steps and steps[-1] >= step:
            for column in self._columns:
                column.pop()

    def points(self) -> list[Point]:
        """All points, oldest first."""
        return list(starmap(Point, zip(*self._columns, strict=True)))


class _Past:
    """The curves of one replica. `taken` counts samples of the incarnation."""

    __slots__ = ("characters", "curves", "incarnation", "taken")

    def __init__(self) -> None:
        self.incarnation = ""
        self.taken = 0
        self.curves: dict[str, Curve] = {}
        self.characters = 0


class History:
    """The curves of all replicas; those that were not written to for longest go first."""

    def __init__(self, room: int = ROOM, most_curves: int = MOST_CURVES) -> None:
        self._room = room
        self._most_curves = most_curves
        self._replicas: OrderedDict[Key, _Past] = OrderedDict()
        self._curves = 0

    def add(self, key: Key, batch: ReportBatch) -> None:
        """Take samples in, apart from those of this incarnation that were taken already.

        What a later incarnation reports replaces what an earlier one did from the same step on.
        """
        past = self._replicas.setdefault(key, _Past())
        self._replicas.move_to_end(key)
        if past.incarnation != batch.incarnation:
            past.incarnation, past.taken = batch.incarnation, 0
            for curve in past.curves.values():
                curve.cut(min(batch.steps, default=0))
        fresh = max(0, past.taken - batch.first)
        past.taken = max(past.taken, batch.first + len(batch.steps))
        for name, column in batch.columns.items():
            if name in past.curves or self._begin(past, name, column):
                self._extend(past.curves[name], batch, column, fresh)
        self._make_room()

    def read(
        self, key: Key, names: Sequence[str] = (), *, points: int, since: int | None = None
    ) -> dict[str, Series]:
        """At most `points` points of each metric in `names` (empty: of all), from a step on."""
        past = self._replicas.get(key)
        if past is None:
            return {}
        curves = {name: past.curves[name] for name in names or past.curves if name in past.curves}
        return {name: _series(curve, points, since) for name, curve in curves.items()}

    def names(self, key: Key) -> list[str]:
        """The metrics of a replica."""
        past = self._replicas.get(key)
        return list(past.curves) if past else []

    def forget(self, run: str, job: str) -> None:
        """Drop a job."""
        for key in [key for key in self._replicas if key[:2] == (run, job)]:
            self._curves -= len(self._replicas.pop(key).curves)

    def clear(self) -> None:
        """Drop everything."""
        self._replicas.clear()
        self._curves = 0

    def _begin(self, past: _Past, name: str, column: Sequence[Scalar | None]) -> bool:
        numeric = any(_number(value) is not None for value in column)
        characters = past.characters + len(name)
        if not numeric or len(past.curves) >= MOST_NAMES or characters > MOST_CHARACTERS:
            return False
        past.characters = characters
        past.curves[name] = Curve()
        self._curves += 1
        return True

    def _extend(
        self, curve: Curve, batch: ReportBatch, column: Sequence[Scalar | None], fresh: int
    ) -> None:
        most = max(SHORTEST, min(LONGEST, self._room // max(1, self._curves)))
        for place in range(fresh, len(column)):
            value = _number(column[place])
            if value is not None:
                curve.add(batch.steps[place], shown_time(batch.at[place]), value, most)

    def _make_room(self) -> None:
        while self._curves > self._most_curves and len(self._replicas) > 1:
            _, past = self._replicas.popitem(last=False)
            self._curves -= len(past.curves)


def answers(
    request: ReadHistory, job: Job, history: History, missing: Collection[Key] = ()
) -> Iterator[protocol.History | None]:
    """What a client has asked for of a job, replica by replica; an empty one if it has none.

    More of the past of those that are `missing` is still to come. Where there is very much of it,
    each series has fewer points than were asked for. None comes wherever others may have their
    turn.

    Raises:
        CommandError: `unknown_replica`, or `invalid_value`.
    """
    if request.points < 1:
        text = f"points: expected an integer >= 1, got {request.points!r}"
        raise CommandError("invalid_value", text)
    for name in request.replicas:
        if name not in job.replicas:
            text = f"job {job.name!r} of run {job.run!r} has no replica named {name!r}"
            raise CommandError("unknown_replica", text, known=sorted(job.replicas))
    replicas = list(dict.fromkeys(request.replicas or job.replicas)) or [""]
    names = list(dict.fromkeys(request.names))
    keys = [(job.run, job.name, replica) for replica in replicas]
    curves = sum(len(names or history.names(key)) for key in keys)
    points = min(request.points, max(1, MOST_ANSWERED // max(1, curves)))
    for key in keys:
        series: dict[str, Series] = {}
        known = dict.fromkeys(history.names(key))
        yield None
        for name in [name for name in names if name in known] if names else known:
            yield None
            series.update(history.read(key, [name], points=points, since=request.since))
        yield protocol.History(
            id=request.id,
            run=job.run,
            job=job.name,
            replica=key[2],
            series=series,
            last=key is keys[-1],
            complete=key not in missing,
        )


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` points that stand for all of these."""
    size = max(1, -(-len(points) // most))
    while True:
        found = [
            point
            for begin in range(0, len(points), size)
            for point in _merged(points[begin : begin + size])
        ]
        if len(found) <= most or size >= len(points):
            return found[:most]
        size += 1 + size // 2


def _merged(points: Sequence[Point]) -> list[Point]:
    """One point for all that are finite, and one for each kind of those that are not."""
    if len(points) == 1:
        return list(points)
    kinds: dict[str, list[Point]] = {}
    for point in points:
        kinds.setdefault("" if math.isfinite(point.low) else str(point.low), []).append(point)
    return [_sum(alike) for alike in kinds.values()]


def _sum(points: Sequence[Point]) -> Point:
    samples = sum(point.samples for point in points)
    first = points[0]
    if not math.isfinite(first.low):
        return first._replace(samples=samples)
    return Point(
        first.step,
        first.at,
        min(point.low for point in points),
        max(point.high for point in points),
        # Weights, not a sum: the greatest floats must not become infinite.
        sum(point.mean * (point.samples / samples) for point in points),
        samples,
    )


def _series(curve: Curve, points: int, since: int | None) -> Series:
    found = [point for point in curve.points() if since is None or point.step >= since]
    found = thinned(found, points)
    return Series(
        steps=[point.step for point in found],
        at=[point.at for point in found],
        min=[to_json(point.low) for point in found],
        max=[to_json(point.high) for point in found],
        mean=[to_json(point.mean) for point in found],
    )


class _Columns(NamedTuple):
    """Points by column, so that a million of them fit."""

    steps: array[int]
    at: array[float]
    low: array[float]
    high: array[float]
    mean: array[float]
    samples: array[int]

    def append(self, point: Point) -> None:
        """Add a point at the end."""
        self.steps.append(point.step)
        self.at.append(point.at)
        self.low.append(point.low)
        self.high.append(point.high)
        self.mean.append(point.mean)
        self.samples.append(point.samples)


def _columns(points: Sequence[Point]) -> _Columns:
    steps, at, low, high, mean, samples = zip(*points, strict=True) if points else ((),) * 6
    return _Columns(
        array("q", steps),
        array("d", at),
        array("d", low),
        array("d", high),
        array("d", mean),
        array("q", samples),
    )


def _alike(one: float, other: float) -> bool:
    return math.isfinite(one) if math.isfinite(other) else repr(one) == repr(other)


def _number(value: Scalar | None) -> float | None:
    return None if value is None or isinstance(value, str) else float(value)

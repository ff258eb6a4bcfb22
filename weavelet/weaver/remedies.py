"""Rules that are shipped. In a rules file:

from weavelet.weaver.remedies import pause_on_bad_loss, scale_lr_on_plateau

bad = pause_on_bad_loss("loss")
plateau = scale_lr_on_plateau("loss", control="lr", factor=0.5, patience=2000)
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from weavelet.weaver.rules import Fleet, Job, Order, Pause, Replica, Rule, Set, rule

_LEAST_SAMPLES = 20
_MIDDLE = 50


def pause_on_bad_loss(
    metric: str = "loss", *, factor: float = 10.0, name: str = "pause_on_bad_loss"
) -> Rule:
    """Pause a job as soon as `metric` is NaN or infinite on any replica, or explodes.

    It explodes where it is above `factor` times the median of the 50 samples before, once there
    have been 20. A job that was resumed all the same is paused again only after a good sample, by
    a weaver that was started since as well.
    """
    paused_before: dict[tuple[str, str], bool] = {}
    bad: set[tuple[str, str, str]] = set()
    seen: dict[tuple[str, str, str], int] = {}

    @rule(every=1.0, follow=(metric,), name=name)
    def pause(fleet: Fleet) -> Iterator[Order]:
        for job, replica in _each(fleet):
            who = (job.run, job.name, replica.name)
            if paused_before.setdefault(who[:2], name in job.commanded_by) and who not in seen:
                bad.add(who)
            samples = replica.recent(metric)
            start = _first_new(samples, seen.get(who))
            for place in range(start, len(samples)):
                step, value = samples[place]
                seen[who] = step
                if not _is_bad(value, samples[max(0, place - _MIDDLE) : place], factor):
                    bad.discard(who)
                elif who not in bad:
                    bad.add(who)
                    yield Pause(job, key=str(step))

    return pause


def _is_bad(value: float, before: Sequence[tuple[int, float]], factor: float) -> bool:
    if not math.isfinite(value):
        return True
    finite = [one for _, one in before if math.isfinite(one)]
    if len(finite) < _LEAST_SAMPLES:
        return False
    middle = statistics.median(finite)
    return middle > 0 and value > factor * middle


@dataclass
class _Course:
    """How a job's metric has gone since the control was last changed."""

    value: object
    best: float = math.inf
    best_step: int | None = None
    last_step: int | None = None
    window: deque[float] = field(default_factory=lambda: deque(maxlen=_LEAST_SAMPLES))


def scale_lr_on_plateau(
    metric: str = "loss",
    *,
    control: str = "lr",
    factor: float = 0.5,
    patience: int = 1000,
    threshold: float = 1e-3,
    least: float = 1e-6,
    name: str = "scale_lr_on_plateau",
) -> Rule:
    """Multiply `control` by `factor` when `metric` has not fallen for `patience` steps.

    Looks at the first replica of each job (by rank, then by name), at the mean of its last 20
    samples; it has fallen where it is below the best so far by more than `threshold` of that.
    Counts anew whenever the control changes, whoever changed it, and never goes below `least`.
    """
    courses: dict[tuple[str, str], _Course] = {}

    @rule(every=1.0, follow=(metric,), name=name)
    def scale(fleet: Fleet) -> Iterator[Order]:
        for job in fleet.jobs:
            if not job.replicas:
                continue
            first = min(job.replicas, key=lambda one: (one.rank or 0, one.name))
            value = first.controls.get(control)
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                continue
            course = courses.get((job.run, job.name))
            if course is None or course.value != value:
                last = course.last_step if course else None
                course = courses[job.run, job.name] = _Course(value, last_step=last)
            _go_on(course, first.recent(metric), threshold)
            new = max(least, value * factor)
            since = course.best_step
            if since is None or course.last_step is None or new >= value:
                continue
            if course.last_step - since >= patience:
                yield Set(job, {control: new}, {control: value}, key=f"{value!r} {since}")

    return scale


def _go_on(course: _Course, samples: Sequence[tuple[int, float]], threshold: float) -> None:
    for step, value in samples[_first_new(samples, course.last_step) :]:
        course.last_step = step
        if not math.isfinite(value):
            continue
        course.window.append(value)
        if len(course.window) < _LEAST_SAMPLES:
            continue
        mean = statistics.fmean(course.window)
        if course.best_step is None or mean < course.best - threshold * abs(course.best):
            course.best, course.best_step = mean, step


def _first_new(samples: Sequence[tuple[int, float]], last: int | None) -> int:
    """The place of the first sample after step `last`; all are new where steps went back."""
    if last is None or (samples and samples[-1][0] < last):
        return 0
    return next((at for at, (step, _) in enumerate(samples) if step > last), len(samples))


def _each(fleet: Fleet) -> Iterator[tuple[Job, Replica]]:
    return ((job, replica) for job in fleet.jobs for replica in job.replicas)

"""How fast the trainer moves, and whether it still does. Pure; the clock is passed in."""

from __future__ import annotations

import statistics
from collections import deque

from weavelet.channel.page import Phase
from weavelet.messages import ReplicaState

STALL_FLOOR = 30.0
"""Seconds without a poll below which nothing counts as a hang, unless told otherwise."""
STALL_STEPS = 10
"""How many median steps without a poll count as a hang."""

_WINDOW = 10
_WORK_WINDOW = 16


class Progress:
    """Fed with looks at the shared page, one a second or so.

    The trainer moves when its step does, or when it answers the bell, which is to be rung whenever
    it has not moved.
    """

    def __init__(self, now: float, floor: float = STALL_FLOOR) -> None:
        self._floor = floor
        self._moved = now
        self._stepped = now
        self._looked = 0
        self._step = 0
        self._durations: deque[float] = deque(maxlen=32)
        self._looks: deque[tuple[float, int]] = deque(maxlen=_WINDOW + 1)

    def look(self, now: float, looks: int, step: int, phase: int, paused: float) -> bool:
        """Take in one look: the clock, and the page's words; `paused` in seconds.

        Returns whether the trainer has moved since the look before.
        """
        moved = looks != self._looked or step != self._step
        if step != self._step:
            if self._looked and step > self._step:
                self._durations.append((now - self._stepped) / (step - self._step))
            self._stepped = now
        elif phase in (Phase.PAUSED, Phase.IN_SECTION):
            self._moved = self._stepped = now
        if moved:
            self._moved = now
        self._looked, self._step = looks, step
        if phase != Phase.PAUSED:
            self._looks.append((now - paused, step))
        return moved

    @property
    def rate(self) -> float:
        """Steps a second over the last looks, pauses taken out; 0.0 before there are two."""
        if len(self._looks) < 2:
            return 0.0
        (began, first), (ended, last) = self._looks[0], self._looks[-1]
        return max(0.0, (last - first) / (ended - began)) if ended > began else 0.0

    def stalled(self, now: float) -> bool:
        """Whether nothing has moved for longer than a hang takes to be one."""
        if not self._looked:
            return False
        median = statistics.median(self._durations) if self._durations else 0.0
        return now - self._moved > max(self._floor, STALL_STEPS * median)


class Work:
    """How long this trainer's steps take on their own. Fed as `Progress` is."""

    def __init__(self) -> None:
        self._step: int | None = None
        self._seconds: deque[float | None] = deque(maxlen=_WORK_WINDOW)

    def look(self, step: int, microseconds: int) -> None:
        """Take in the page's words; a step is counted once."""
        if step != self._step:
            self._seconds.append(microseconds / 1e6 if microseconds > 0 else None)
        self._step = step

    @property
    def median(self) -> float | None:
        """Seconds, over the last looks; None where none of them could tell."""
        known = [seconds for seconds in self._seconds if seconds is not None]
        return statistics.median(known) if known else None


def state(
    phase: int, looks: int, *, frozen: bool, stalled: bool, overdue: bool, conflict: bool
) -> ReplicaState:
    """The one word for a live trainer.

    `frozen` is /proc's state T, `overdue` a section beyond its own time-out.
    """
    if conflict:
        return "conflict"
    if frozen:
        return "stopped"
    if phase == Phase.PAUSED:
        return "paused"
    if overdue or (stalled and phase != Phase.IN_SECTION):
        return "stalled"
    if phase == Phase.IN_SECTION:
        return "in-section"
    return "running" if looks else "starting"

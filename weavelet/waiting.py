"""Waiting in naps, since no store call may block."""

from __future__ import annotations

import math
from collections.abc import Callable

from weavelet.keystore import Sleep

WARN_SECONDS = 10.0
_SHORTEST, _LONGEST = 0.0002, 0.05


class Wait:
    """A wait in small naps: when to give up and when to say so. No patience waits for ever."""

    def __init__(self, clock: Callable[[], float], patience: float | None) -> None:
        self._clock = clock
        self._patience = patience
        self._began = clock()
        self._nap = _SHORTEST
        self._warn_at = WARN_SECONDS

    @property
    def patience(self) -> float:
        """Seconds after which it gives up."""
        return math.inf if self._patience is None else self._patience

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began

    @property
    def over(self) -> bool:
        """Whether patience has ended."""
        return self._patience is not None and self.elapsed >= self._patience

    def extend(self, seconds: float) -> bool:
        """Have patience for so long from the beginning on; whether that makes a difference."""
        if self._patience is None or seconds <= self._patience:
            return False
        self._patience = seconds
        return True

    def renew(self) -> None:
        """Whoever is waited for has shown a sign of life."""
        self._began = self._clock()
        self._warn_at = WARN_SECONDS

    def overdue(self) -> bool:
        """Whether it is time to say whom this waits for: every 10 s."""
        if self._patience is None or self.elapsed < self._warn_at:
            return False
        self._warn_at = self.elapsed + WARN_SECONDS
        return True

    def nap(self, *, paused: bool = False) -> Sleep:
        """The next nap, never beyond the end of patience."""
        nap, self._nap = self._nap, min(_LONGEST, self._nap * 1.5)
        if self._patience is not None:
            nap = min(nap, max(_SHORTEST, self._patience - self.elapsed))
        return Sleep(nap, paused=paused)

"""How things are measured here: candidates take turns, so that noise meets all of them alike."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager

Loop = Callable[[Sequence[int]], None]
"""Does what is measured once for each of the steps given."""


class Turns:
    """Loops that take turns; `benchmark.pedantic(turns.take, rounds=...)` is one turn each.

    The price of the bare loop is taken off each.
    """

    def __init__(self, loops: Mapping[str, Loop], calls: int = 5000) -> None:
        self._loops = {"": _bare, **loops}
        self._steps = range(1000, 1000 + calls)
        self.seconds: dict[str, list[float]] = {name: [] for name in self._loops}

    def take(self) -> None:
        """Run each loop once."""
        for name, loop in self._loops.items():
            began = time.perf_counter()
            loop(self._steps)
            self.seconds[name].append((time.perf_counter() - began) / len(self._steps))

    def nanoseconds(self, name: str) -> float:
        """Median price of one call."""
        return (statistics.median(self.seconds[name]) - statistics.median(self.seconds[""])) * 1e9


def _bare(steps: Sequence[int]) -> None:
    for _ in steps:
        pass


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Work:
    """A training step's stand-in: the same arithmetic each time, of a known length."""

    def __init__(self, seconds: float) -> None:
        self._turns = 1000
        while (price := min(self._price() for _ in range(5))) < 1e-3:
            self._turns *= 2
        self._turns = max(1, round(self._turns * seconds / price))

    def __call__(self) -> None:
        value = 0.5
        for _ in range(self._turns):
            value = value * 1.000001 + 1e-9

    def _price(self) -> float:
        began = time.perf_counter()
        self()
        return time.perf_counter() - began


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for a condition, or end the process."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"not within {seconds} s")
        time.sleep(0.01)


@contextmanager
def without_garbage_collection():
    """As timeit does: a collection of another library's objects is not our price."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

"""Under which names the optimizers of a script are steered, decided by who steps when. Pure."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

PROBATION = 32
"""Steps after which it is clear whether another optimizer came beside the first or after it."""
MOST = 8
"""Optimizers that are steered at a time."""
_MOST_WAITING = 1000


class Place:
    """An optimizer that is steered, for as long as the script keeps it; it `stepped` last then."""

    __slots__ = ("_optimizer", "number", "schedulers", "stepped")

    def __init__(self, optimizer: Any, number: int, stepped: int) -> None:
        self._optimizer = weakref.ref(optimizer)
        self.number = number
        self.stepped = stepped
        self.schedulers: tuple[weakref.ref[Any], ...] = ()

    @property
    def optimizer(self) -> Any:
        """The optimizer; None once it is gone."""
        return self._optimizer()

    @property
    def prefix(self) -> str:
        """What stands before its names."""
        return "" if self.number == 1 else f"optimizer{self.number}."


class Places:
    """Who has which prefix: the first optimizer none, others `optimizer2.` and so on.

    The place of one that is gone is taken by the next new one at once. One that is there and has
    not stepped while a new one did `PROBATION` steps gives up its place to it: the script has gone
    on to the next fold or phase. Else the new one gets a place of its own.
    """

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._waiting: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def __iter__(self) -> Iterator[Place]:
        return iter(list(self._places))

    def of(self, optimizer: Any) -> Place | None:
        """The place of an optimizer, None without one."""
        for place in self._places:
            if place.optimizer is optimizer:
                return place
        return None

    def take(self, optimizer: Any, step: int) -> Place | None:
        """A place for an optimizer without one that steps now; None if it has to wait."""
        number = self._number(optimizer, step)
        if number is None:
            return None
        self._waiting.pop(optimizer, None)
        place = Place(optimizer, number, step)
        self._places = [each for each in self._places if each.number != number]
        self._places.insert(number - 1, place)
        return place

    def is_idle(self, place: Place) -> bool:
        """Whether a new optimizer has begun to step since the one of this place did last."""
        return any(since > place.stepped for since in self._waiting.values())

    def _number(self, optimizer: Any, step: int) -> int | None:
        for place in self._places:
            if place.optimizer is None:
                return place.number
        if not self._places:
            return 1
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.clear()
        since = self._waiting.setdefault(optimizer, step)
        if step - since < PROBATION:
            return None
        oldest = min(self._places, key=lambda place: place.stepped)
        # As old as the new one's first step is what raised instead of stepping.
        if oldest.stepped <= since:
            return oldest.number
        return len(self._places) + 1 if len(self._places) < MOST else None

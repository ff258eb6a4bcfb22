"""Under which names the optimizers of a script are steered, decided by who steps when. Pure."""

from __future__ import annotations

from typing import Any

PROBATION = 32
"""Steps after which it is clear whether another optimizer came beside the first or after it."""
MOST = 8
"""Optimizers that are steered at a time."""
_MOST_WAITING = 1000


class Place:
    """An optimizer that is steered. `prefix` stands before its names; it `stepped` last then."""

    __slots__ = ("optimizer", "prefix", "schedulers", "stepped")

    def __init__(self, optimizer: Any, prefix: str, stepped: int) -> None:
        self.optimizer = optimizer
        self.prefix = prefix
        self.stepped = stepped
        self.schedulers: tuple[Any, ...] = ()


class Places:
    """Who has which prefix: the first optimizer none, others `optimizer2.` and so on.

    One that has not stepped while a new one did `PROBATION` steps gives up its place to it: the
    script has gone on to the next fold or phase. Else the new one gets a place of its own.
    """

    def __init__(self) -> None:
        self._places: dict[int, Place] = {}
        self._waiting: dict[int, int] = {}

    def __iter__(self) -> Any:
        return iter(list(self._places.values()))

    def of(self, optimizer: Any) -> Place | None:
        """The place of an optimizer, None without one."""
        return self._places.get(id(optimizer))

    def take(self, optimizer: Any, step: int) -> Place | None:
        """A place for an optimizer without one that steps now; None if it has to wait."""
        key = id(optimizer)
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.clear()
        if self._places:
            since = self._waiting.setdefault(key, step)
            if step - since < PROBATION:
                return None
        else:
            since = step
        gone = min(self._places.values(), key=lambda place: place.stepped, default=None)
        # As old as the new one's first step is what raised instead of stepping.
        if gone is not None and gone.stepped <= since < step:
            del self._places[id(gone.optimizer)]
            prefix = gone.prefix
        elif len(self._places) < MOST:
            number = len(self._places) + 1
            prefix = "" if number == 1 else f"optimizer{number}."
        else:
            return None
        self._waiting.clear()
        place = self._places[key] = Place(optimizer, prefix, step)
        return place

"""What was made of texts that come again and again. Pure, and bounded by the texts' length."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_OVERHEAD = 500
"""Characters that any text counts for beyond its own."""


class Cache(Generic[T]):
    """`make(text)`, kept; beyond `most` characters what was asked for longest ago goes."""

    def __init__(self, make: Callable[[str], T], most: int) -> None:
        self._make = make
        self._most = most
        self._made: OrderedDict[str, T] = OrderedDict()
        self.size = 0

    def __call__(self, text: str) -> T:
        """What is made of `text`, now or earlier."""
        if text in self._made:
            self._made.move_to_end(text)
            return self._made[text]
        made = self._made[text] = self._make(text)
        self.size += len(text) + _OVERHEAD
        while self.size > self._most:
            dropped, _ = self._made.popitem(last=False)
            self.size -= len(dropped) + _OVERHEAD
        return made

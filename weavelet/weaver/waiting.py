"""What came before the thing that it is about, kept until that comes. Pure, and bounded."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Waiting(Generic[K, V]):
    """Values by what they wait for; beyond `most` values the oldest keys lose theirs."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[K, list[V]] = OrderedDict()
        self._count = 0

    def keep(self, key: K, value: V) -> None:
        """Keep a value until `key` is taken."""
        self._kept.setdefault(key, []).append(value)
        self._count += 1
        while self._count > self._most:
            _, dropped = self._kept.popitem(last=False)
            self._count -= len(dropped)

    def take(self, key: K) -> list[V]:
        """The values that waited for `key`, oldest first."""
        found = self._kept.pop(key, [])
        self._count -= len(found)
        return found

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self._count = 0

"""What came before the thing that it is about, kept until that comes. Pure, and bounded."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

OVERHEAD = 1000
"""Bytes that each value counts for beyond its own."""


class Waiting(Generic[K, V]):
    """Values by what they wait for; beyond `most` bytes the oldest keys lose theirs."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[K, list[tuple[V, int]]] = OrderedDict()
        self._bytes = 0

    def keep(self, key: K, value: V, size: int) -> None:
        """Keep a value of so many bytes until `key` is taken."""
        self._kept.setdefault(key, []).append((value, size + OVERHEAD))
        self._bytes += size + OVERHEAD
        while self._bytes > self._most:
            self._drop(next(iter(self._kept)))

    def take(self, key: K) -> list[V]:
        """The values that waited for `key`, oldest first."""
        return self._drop(key)

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self._bytes = 0

    def _drop(self, key: K) -> list[V]:
        dropped = self._kept.pop(key, [])
        self._bytes -= sum(size for _, size in dropped)
        return [value for value, _ in dropped]

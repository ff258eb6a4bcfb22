"""Learning of a method's calls without a frame of ours in the caller's tracebacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Watched:
    """Stands for a method in its class: `notice` is told of each object whose method is fetched."""

    def __init__(self, method: Any, notice: Callable[[Any], None]) -> None:
        self.method = method
        self.notice = notice

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        if owner is not None:
            self.notice(owner)
        return self.method.__get__(owner, kind)


def watch(kind: Any, name: str, notice: Callable[[Any], None]) -> Callable[[], None]:
    """Have `notice` told whenever a method is fetched from an object; returns what ends that."""
    watched = Watched(vars(kind)[name], notice)
    setattr(kind, name, watched)

    def undo() -> None:
        if vars(kind).get(name) is watched:
            setattr(kind, name, watched.method)

    return undo

"""Learning of a method's calls without a frame of ours in the caller's tracebacks."""

from __future__ import annotations

import functools
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


def watch_calls(kind: Any, name: str, notice: Callable[[Any], None]) -> Callable[[], None]:
    """Have `notice` told the first argument of each call of a method; returns what ends that."""
    method = vars(kind)[name]

    @functools.wraps(method)
    def noticing(*args: Any, **kwargs: Any) -> Any:
        notice(next(iter((*args[1:], *kwargs.values())), None))
        try:
            return method(*args, **kwargs)
        except BaseException as error:  # it goes on up
            hide_frame(error)
            raise

    setattr(kind, name, noticing)

    def undo() -> None:
        if vars(kind).get(name) is noticing:
            setattr(kind, name, method)

    return undo


def watch(kind: Any, name: str, notice: Callable[[Any], None]) -> Callable[[], None]:
    """Have `notice` told whenever a method is fetched from an object; returns what ends that."""
    watched = Watched(vars(kind)[name], notice)
    setattr(kind, name, watched)

    def undo() -> None:
        if vars(kind).get(name) is watched:
            setattr(kind, name, watched.method)

    return undo


def hide_frame(error: BaseException) -> None:
    """Take the frame that has caught an error out of its traceback; a bare `raise` is to follow.

    On Python 3.10 it stays: there a bare `raise` brings the traceback back.
    """
    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next

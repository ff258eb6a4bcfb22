"""The active sessions of this process: current(), and what becomes of them at fork and at exit."""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING, Any

from weavelet.declarations import error_text
from weavelet.messages import Change

if TYPE_CHECKING:
    from weavelet.session import Weavelet

_active: list[Weavelet] = []


def current() -> Weavelet | None:
    """The active session, the innermost one where they are nested; None without one."""
    return _active[-1] if _active else None


def poll(step: int | None = None) -> tuple[Change, ...]:
    """`poll` of the active session; without one it does nothing and returns ()."""
    return _active[-1].poll(step) if _active else ()


def report(step: int | None = None, /, **metrics: Any) -> None:
    """`report` of the active session; without one it does nothing."""
    if _active:
        _active[-1].report(step, **metrics)


def enter(session: Weavelet) -> None:
    """Make a session the active one."""
    _active.append(session)
    _end_with_multiprocessing_children()


def make_way() -> None:
    """A session is about to begin: one that stands in for it ends."""
    for session in _active.copy():
        if session._gives_way:  # noqa: SLF001  no user should
            session.stop()


def leave(session: Weavelet) -> None:
    """The session is over."""
    if session in _active:
        _active.remove(session)


def place_of(session: Weavelet) -> int:
    """How many active sessions there are around this one."""
    return _active.index(session) if session in _active else len(_active)


def _forget_in_child() -> None:
    for session in _active:
        session._become_inert()  # noqa: SLF001  no user should
    _active.clear()


def _stop_all() -> None:
    """At the interpreter's exit: a session that nobody stopped still says goodbye."""
    error = getattr(sys, "last_value", None)
    interactive = hasattr(sys, "ps1")
    text = None if error is None or interactive else error_text(error)
    for session in reversed(_active.copy()):
        session.stop(text)


def _end_with_multiprocessing_children() -> None:
    # Children of multiprocessing leave by os._exit, without atexit; their finalizers do run.
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return
    from multiprocessing import util  # noqa: PLC0415  loaded already in such a child

    util.Finalize(None, _stop_all, exitpriority=10)


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)

"""The functions that a session calls when the weaver tells it of an event outside."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from weavelet.declarations import error_text
from weavelet.messages import Notice
from weavelet.transaction import Verdict, traceback_text
from weavelet.values import encode, short

Function = Callable[[Notice], Any]

_KIND = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class NoticeHandlers:
    """One function for each kind of notice, such as `device_failed`."""

    def __init__(self) -> None:
        self._functions: dict[str, Function] = {}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that have a function."""
        return tuple(sorted(self._functions))

    def add(self, kind: str, function: Function) -> None:
        """Call `function` with each notice of a kind, instead of any other one.

        Raises:
            TypeError: it cannot be called with one argument, or would not run when it is called.
            ValueError: the kind is not a valid one.
        """
        check_kind(kind)
        _check_function(kind, function)
        self._functions[kind] = function

    def run(self, notice: Notice) -> Verdict:
        """Hand a notice to its function; `result` is what it returned, as plain data."""
        function = self._functions.get(notice.kind)
        if function is None:
            reason = f"no function here is registered for {short(notice.kind)}"
            return Verdict("skipped", reason=reason)
        try:
            returned = function(notice)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:  # the user's code: whatever it raises, training goes on
            reason = f"{notice.kind}: {error_text(exc)}"
            return Verdict("failed", reason=reason, traceback=traceback_text(exc))
        try:
            return Verdict("applied", result=encode(returned, order=None))
        except ValueError as exc:
            return Verdict("applied", reason=f"{notice.kind}: it ran, but its result {exc}")


def check_kind(kind: object) -> None:
    """Make sure that this can be a kind of notices.

    Raises:
        TypeError: it is no text.
        ValueError: it is not a valid one.
    """
    if not isinstance(kind, str):
        hint = 'write `@w.on_notice("device_failed")`' if callable(kind) else "give it as text"
        msg = f"the kind of a notice must be str, got {short(kind)}; {hint}."
        raise TypeError(msg)
    if not _KIND.match(kind):
        valid = re.sub(r"[^A-Za-z0-9_-]+", "_", kind)[:64].strip("_") or "device_failed"
        msg = (
            f"the kind of a notice must be 1 to 64 of A-Z a-z 0-9 _ -, got {short(kind)}; a valid "
            f"spelling is {valid!r}."
        )
        raise ValueError(msg)


def _check_function(kind: str, function: object) -> None:
    if not callable(function):
        msg = f"expected a function for notices of {kind!r}, got {short(function)}."
        raise TypeError(msg)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        msg = (
            f"{short(function)} cannot be called for {kind!r}: it runs in poll(), which waits for "
            "no coroutine and no generator; give a plain function."
        )
        raise TypeError(msg)
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        msg = (
            f"{short(function)} cannot be called for {kind!r}: it must take one argument, the "
            "notice with its kind and detail."
        )
        raise TypeError(msg) from None
    except ValueError:
        return  # a builtin that does not tell its parameters

"""Several controls set at the safe point, all or none."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from typing import Any

import msgspec

from weavelet.declarations import FAILURES_TO_QUARANTINE, Control, error_text
from weavelet.exceptions import ControlError
from weavelet.messages import Change, OutcomeKind, Value
from weavelet.values import UNKNOWN, Unknown

MAX_TRACEBACK = 8 * 1024
"""Characters of a traceback that an outcome carries."""

_logger = logging.getLogger("weavelet")


class Verdict(msgspec.Struct, frozen=True):
    """What became of a Set or an Act here: an outcome without its time and place."""

    kind: OutcomeKind
    changes: tuple[Change, ...] = ()
    reason: str | None = None
    result: Value = None
    traceback: str | None = None


class _RefusedError(Exception):
    """A handler's own refusal, as opposed to a `get` that fails after it."""


class Step(msgspec.Struct, frozen=True):
    """One control to set: `given` to the handler, `new` and `old` as plain data, `raw` from get."""

    control: Control
    given: Any
    new: Value
    old: Value | Unknown
    raw: Any

    def change(self, new: Value) -> Change:
        """The change that this step makes; an old value that is not known is None."""
        return Change(self.control.name, None if self.old is UNKNOWN else self.old, new)


def carry_out(steps: Sequence[Step]) -> Verdict:
    """Run the handlers in order; if one raises, set back those that were begun.

    A handler that raises ControlError refuses the value, and has touched nothing: those before it
    are set back, and it does not count as a failure. Text that a handler returns becomes the reason
    of an applied verdict.

    Raises:
        KeyboardInterrupt, SystemExit: raised by a handler, after all were set back.
    """
    begun: list[Step] = []
    changes: list[Change] = []
    said: list[str] = []
    try:
        for step in steps:
            begun.append(step)
            changes.append(step.change(_set(step, said)))
    except (KeyboardInterrupt, SystemExit):
        _logger.warning("interrupted while setting controls; %s", set_back(begun))
        raise
    except BaseException as exc:  # the user's code: whatever it raises, training goes on
        if isinstance(exc, _RefusedError):
            return _refusal(exc, begun[:-1])
        return _failure(exc, begun)
    return Verdict("applied", tuple(changes), "; ".join(said) or None)


def _set(step: Step, said: list[str]) -> Value:
    control = step.control
    try:
        returned = control.function(step.given)
    except ControlError as exc:
        raise _RefusedError(str(exc)) from exc
    if isinstance(returned, str) and returned:
        said.append(f"{control.name}: {returned[:500]}")
    control.last = step.new
    new = step.new if control.get is None else control.current()[0]
    control.last = new
    control.failures = 0
    return new


def _refusal(exc: _RefusedError, done: Sequence[Step]) -> Verdict:
    parts = (str(exc), set_back(done))
    return Verdict("rejected", reason="; ".join(filter(None, parts)))


def _failure(exc: BaseException, begun: Sequence[Step]) -> Verdict:
    control = begun[-1].control
    text = str(exc) if isinstance(exc, ControlError) else f"{control.name}: {error_text(exc)}"
    cause = exc.__cause__ if isinstance(exc, ControlError) and exc.__cause__ else exc
    trace = traceback_text(cause)
    text = f"{text}; {set_back(begun)}"
    control.failures += 1
    control.last_failure = error_text(cause)
    if control.failures == FAILURES_TO_QUARANTINE:
        text = (
            f"{text}; {control.name} is quarantined after {control.failures} failures in a row, "
            f"register its handler again to get it back"
        )
        _logger.warning("%s", text)
    return Verdict("failed", reason=text, traceback=trace)


def set_back(begun: Sequence[Step]) -> str:
    """Give the begun steps their old values, last first; what came of it, in words.

    Raises:
        KeyboardInterrupt, SystemExit: raised by a handler, after all were set back.
    """
    done, not_done = [], []
    interruption: BaseException | None = None
    for step in reversed(begun):
        control = step.control
        if step.old is UNKNOWN:
            not_done.append(f"{control.name} (no earlier value is known)")
            if step is begun[-1]:
                control.last = UNKNOWN
            continue
        try:
            control.function(_native(step))
        except BaseException as exc:  # the others are owed their old values all the same
            not_done.append(f"{control.name} ({error_text(exc)})")
            control.last = UNKNOWN
            if isinstance(exc, (KeyboardInterrupt, SystemExit)):
                interruption = exc
        else:
            done.append(control.name)
            control.last = step.old
    if interruption is not None:
        raise interruption
    parts = [("set back: ", done), ("could not set back: ", not_done)]
    return "; ".join(lead + ", ".join(names) for lead, names in parts if names)


def _native(step: Step) -> Any:
    try:
        return step.control.shape.decode(step.old)
    except ValueError:
        # It was outside of what the type allows before anyone touched it.
        return step.raw


def traceback_text(exc: BaseException) -> str:
    """The traceback without our own frames, of bounded length; the end is what matters most."""
    inner = exc.__traceback__
    while inner is not None and inner.tb_frame.f_globals.get("__package__") == __package__:
        inner = inner.tb_next
    try:
        text = "".join(traceback.format_exception(type(exc), exc, inner))
    except Exception as broken:  # formatting runs code of the exception's class
        return f"{error_text(exc)} (no traceback: {error_text(broken)})"
    if len(text) <= MAX_TRACEBACK:
        return text
    head = MAX_TRACEBACK // 4
    return f"{text[:head]}\n[...]\n{text[head - MAX_TRACEBACK + 7 :]}"

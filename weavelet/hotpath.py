"""The hot path: poll and report as closures, bound when a session starts.

Closures, because cell variables are the cheapest names that Python has. Everything that can be
checked was checked before; what is rare is a call away.
"""

from __future__ import annotations

import logging
import operator
import time
from collections.abc import Callable
from typing import Any

from weavelet.channel.end import End
from weavelet.channel.page import Page
from weavelet.messages import Change, Sample, Scalar

Poll = Callable[..., tuple[Change, ...]]
Report = Callable[..., None]
Read = Callable[[int, float, dict[str, Any]], "dict[str, Scalar] | None"]
"""Makes plain values of metrics reported at a step and time; None if they come later."""
Due = Callable[[int], bool]
"""Whether a poll at a step has to look, although the bell is silent."""
Look = Callable[[int], tuple[tuple[Change, ...], bool]]
"""Decides what is waiting at a step; returns the changes and whether the next poll must look."""

FLUSH_SECONDS = 0.1
"""A report is sent at once unless the last sending is younger than this."""

_SCALARS = frozenset({int, float, bool, str})
_log = logging.getLogger("weavelet")


def poll_nothing(step: int | None = None) -> tuple[Change, ...]:
    """The poll of a session that is disabled, not started, stopped, copied or forked."""
    return ()


def report_nothing(step: int | None = None, /, **metrics: Any) -> None:
    """The report of a session that is disabled, not started, stopped, copied or forked."""


def make_poll(page: Page, look: Look, due: Due | None = None) -> Poll:
    """Bind a poll: one word written, one read, and no call while the bell is silent.

    With `due` each poll also asks that.
    """
    words = page.words
    page.ring()

    def poll(step: int | None = None) -> tuple[Change, ...]:
        # BELL, LOOKS, STEP and COUNTED are 0, 1, 2 and 9: by name they would cost a tenth more.
        if step is None:
            step = words[2] + 1 if words[1] else 0
            words[9] = 1
        try:
            words[2] = step
        except (TypeError, ValueError) as error:
            raise _step_error(step) from error
        if words[0]:
            return answer()
        return ()

    def poll_when_due(step: int | None = None) -> tuple[Change, ...]:
        if step is None:
            step = words[2] + 1 if words[1] else 0
            words[9] = 1
        try:
            words[2] = step
        except (TypeError, ValueError) as error:
            raise _step_error(step) from error
        if due(step) or words[0]:  # type: ignore[misc]  # it is bound only where there is one
            return answer()
        return ()

    def answer() -> tuple[Change, ...]:
        try:
            # Silenced before looking, so that what comes meanwhile is looked at by the next poll.
            words[Page.BELL] = 0
            words[Page.LOOKS] += 1
            changes, again = look(words[Page.STEP])
        except BaseException:
            page.ring()
            raise
        if again:
            page.ring()
        return changes

    return poll if due is None else poll_when_due


def make_report(page: Page, end: End, read: Read | None = None) -> Report:
    """Bind a report: into the ring, and off to the sidecar if the last sending is old enough.

    `read` is for metrics of which some are not plain values. Default: `plain`.
    """
    read = read or _read_plain
    words = page.words
    step_word = Page.STEP
    sample, flush, monotonic, scalars = end.sample, end.flush, time.monotonic, _SCALARS
    flushed = 0.0

    def report(step: int | None = None, /, **metrics: Any) -> None:
        nonlocal flushed
        values: dict[str, Any] | None = metrics
        if step is None:
            # Whoever writes step=step means the step, not a metric of that name.
            step = metrics.pop("step", None)
        if step is None:
            step = words[step_word]
        elif type(step) is not int:
            step = _plain_step(step, words[step_word])
        now = monotonic()
        for value in metrics.values():
            if type(value) not in scalars:
                values = read(step, now, metrics)
                break
        if values is not None:
            sample(Sample(step, now, values))
        if now - flushed >= FLUSH_SECONDS:
            flushed = now
            flush()

    return report


def blind(page: Page, *functions: Callable[..., Any]) -> None:
    """Let a page, and what was bound to it, write to memory of this process alone."""
    shared, page.words = page.words, memoryview(bytearray(8 * len(page.words))).cast("q")
    for function in functions:
        for cell in function.__closure__ or ():
            if cell.cell_contents is shared:
                cell.cell_contents = page.words


def _read_plain(step: int, at: float, metrics: dict[str, Any]) -> dict[str, Scalar]:
    return plain(metrics)


def plain(metrics: dict[str, Any]) -> dict[str, Scalar]:
    """The metrics as plain numbers, flags and text; what is none of these is left out, and said.

    Anything with `.item()` gives what that returns.
    """
    result: dict[str, Scalar] = {}
    for name, value in metrics.items():
        try:
            scalar = _scalar(value)
        except Exception:  # code of other libraries: whatever it raises, training goes on
            scalar = None
        if scalar is None:
            _say_once(name, type(value).__name__)
        else:
            result[name] = scalar
    return result


def _scalar(value: Any) -> Scalar | None:
    item = getattr(value, "item", None)
    scalar = value if item is None else item()
    if type(scalar) in _SCALARS:
        return scalar  # type: ignore[no-any-return]  # which the test above has found out
    # Not str() and the like: for members of an Enum they may say something else.
    if isinstance(scalar, str):
        return str.__str__(scalar)
    if isinstance(scalar, int):
        return int.__int__(scalar)
    return float.__float__(scalar) if isinstance(scalar, float) else None


_said: set[tuple[str, str]] = set()


def _say_once(name: str, kind: str) -> None:
    if (name, kind) not in _said and len(_said) < 100:
        _said.add((name, kind))
        _log.warning(
            "report() leaves out %s: expected a number, a bool, a str or a one-element tensor, "
            "got %s",
            name,
            kind,
        )


def _plain_step(step: Any, fallback: int) -> int:
    try:
        return operator.index(step)
    except Exception:  # code of other libraries: whatever it raises, training goes on
        _say_once("step", type(step).__name__)
        return fallback


def _step_error(step: object) -> Exception:
    if isinstance(step, int):
        return ValueError(f"step must fit into 64 bits, got {step!r}")
    return TypeError(f"step must be an int, the count of optimizer steps from 0, got {step!r}")

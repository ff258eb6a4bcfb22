"""The controls and actions of one session, by name, and its functions for notices."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from weavelet import reference
from weavelet.declarations import Action, Control, error_text
from weavelet.exceptions import ControlError
from weavelet.marks import Mark, action, handler, marked
from weavelet.messages import Change, ControlSpec, Value
from weavelet.notices import NoticeHandlers, check_kind
from weavelet.schema import describe
from weavelet.signatures import Function, origin
from weavelet.transaction import Step, Verdict, carry_out, set_back, traceback_text
from weavelet.values import UNKNOWN, encode, short

__all__ = ["Change", "Registry", "Verdict", "action", "handler"]

F = TypeVar("F", bound=Function)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
_MOST_NAMES = 20
_MOST_PROBLEMS = 10


class Registry:
    """Controls and actions by name. `version` grows with registrations and quarantines.

    `stated` is the last hash that `state` gave. Ranks are compared by it, so that it is not to be
    made anew at a step of one rank's own: a schedule moves values meanwhile.

    Nothing that a handler, an action or a `get` raises comes out of `apply` and `run`, except
    KeyboardInterrupt and SystemExit.
    """

    def __init__(self) -> None:
        self.version = 0
        self.stated = ""
        self.notices = NoticeHandlers()
        self._declared: dict[str, Control | Action] = {}
        self._done: list[Step] = []

    def handler(
        self,
        name: str | None = None,
        *,
        type: Any = None,
        get: Callable[[], object] | None = None,
        unit: str = "",
        doc: str = "",
        danger: bool = False,
        idempotent: bool = False,
        scope: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function as what sets a control.

        `scope` holds the names local to the caller, for annotations that are text.

        Raises:
            TypeError: not a plain function of one parameter, or of a type that cannot be decoded.
            ValueError: the name is taken or is not a valid one.
        """

        def register(function: F) -> F:
            control = Control(
                _check_name(name, function),
                function,
                scope=scope or {},
                type=type,
                get=get,
                unit=unit,
                doc=doc,
                danger=danger,
                idempotent=idempotent,
            )
            self._add([control])
            return function

        _check_is_name(name)
        return register

    def action(
        self,
        name: str | None = None,
        *,
        doc: str = "",
        danger: bool = False,
        idempotent: bool = False,
        scope: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function as an action.

        Raises:
            TypeError: a parameter without annotation, or of a type that cannot be decoded.
            ValueError: the name is taken or is not a valid one.
        """

        def register(function: F) -> F:
            declared = Action(
                _check_name(name, function),
                function,
                scope=scope or {},
                doc=doc,
                danger=danger,
                idempotent=idempotent,
            )
            self._add([declared])
            return function

        _check_is_name(name)
        return register

    def on_notice(self, kind: str) -> Callable[[F], F]:
        """Register the decorated function for a kind of notices, as `NoticeHandlers.add`."""

        def register(function: F) -> F:
            self.notices.add(kind, function)
            self.version += 1
            return function

        check_kind(kind)
        return register

    def register(self, obj: object, *, strict: bool = True) -> None:
        """Register the marked methods of an object, all or none.

        Raises:
            TypeError: it has no marked methods (if strict), or one of them cannot be registered.
            ValueError: a name is taken or is not a valid one.
        """
        if isinstance(obj, type):
            msg = (
                f"expected an object with marked methods, got the class {obj!r}; give an instance."
            )
            raise TypeError(msg)
        declared = [_declare(function, mark) for function, mark in marked(obj)]
        if strict and not declared:
            msg = f"{short(obj)} has no methods marked with @weavelet.handler or @weavelet.action."
            raise TypeError(msg)
        self._add(declared)

    def _add(self, declared: Iterable[Control | Action]) -> None:
        added: dict[str, Control | Action] = {}
        for new in declared:
            old = added.get(new.name) or self._declared.get(new.name)
            if old is not None and origin(old.function) != origin(new.function):
                msg = (
                    f"{new.name!r} is a duplicate: it is already {'.'.join(origin(old.function))}, "
                    f"and now {'.'.join(origin(new.function))}; give one of them another name."
                )
                raise ValueError(msg)
            added[new.name] = new
        self._declared.update(added)
        self.version += 1

    def specs(self) -> tuple[ControlSpec, ...]:
        """All controls and actions in the order of registration, with current values."""
        return tuple(declared.spec() for declared in self._declared.values())

    def page(self, run: str = "") -> str:
        """All of them as a Markdown page."""
        return reference.page(self.specs(), self._words, run=run)

    def _words(self, spec: ControlSpec, parameter: str | None) -> str:
        declared = self._declared[spec.name]
        if isinstance(declared, Action):
            return describe(declared.shapes[parameter or ""].info)
        return describe(declared.shape.info)

    def names(self) -> set[str]:
        """The names of all controls."""
        return {control.name for control in self._controls()}

    def values(self) -> dict[str, Value]:
        """The controls' values as plain data: from `get`, else as last applied, else absent."""
        values = {control.name: control.effective() for control in self._controls()}
        return {name: value for name, value in values.items() if value is not UNKNOWN}

    def state(self) -> str:
        """A short hash of all values: equal where the values are, in any process and order."""
        data = msgspec.msgpack.encode(self.values(), order="deterministic")
        self.stated = hashlib.sha256(data).hexdigest()[:12]
        return self.stated

    def apply(
        self,
        values: Mapping[str, Value],
        *,
        expect: Mapping[str, Value] = {},
        dry_run: bool = False,
        by: str = "",
    ) -> Verdict:
        """Set several controls in the order given, all or none.

        Nothing is touched unless every value fits, every `expect` holds and every old value can be
        read. A dry run ends there, as `skipped`, with the changes that would be made. `by` is kept
        for whoever expects another value later: "set by ann at step 812".
        """
        steps, refused = self._plan(values, expect)
        if refused is not None:
            return refused
        if dry_run:
            return Verdict("skipped", tuple(step.change(step.new) for step in steps), "dry run")
        verdict = carry_out(steps)
        if verdict.kind == "applied":
            self._done = steps
            for step in steps:
                step.control.last_by = by
        elif any(step.control.quarantined for step in steps):
            self.version += 1
        return verdict

    def undo(self) -> str:
        """Set back what the last `apply` has set; what came of it, in words."""
        done, self._done = self._done, []
        for step in done:
            step.control.last_by = ""
        return set_back(done)

    def refusal(self, name: str, arguments: Mapping[str, Value]) -> str | None:
        """Why an action cannot be run with these arguments, None if it can."""
        try:
            self._action(name).decode(arguments)
        except ControlError as exc:
            return str(exc)
        return None

    def run(self, name: str, arguments: Mapping[str, Value]) -> Verdict:
        """Run an action; `result` is what it returned, as plain data."""
        try:
            action = self._action(name)
            decoded = action.decode(arguments)
        except ControlError as exc:
            return Verdict("rejected", reason=str(exc))
        try:
            returned = action.function(**decoded)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:  # the user's code: whatever it raises, training goes on
            reason = f"{name}: {error_text(exc)}"
            return Verdict("failed", reason=reason, traceback=traceback_text(exc))
        try:
            return Verdict("applied", result=encode(returned, order=None))
        except ValueError as exc:
            return Verdict("applied", reason=f"{name}: it ran, but its result {exc}")

    def _plan(
        self, values: Mapping[str, Value], expect: Mapping[str, Value]
    ) -> tuple[list[Step], Verdict | None]:
        steps: list[Step] = []
        problems: list[ControlError] = []
        for name, value in values.items():
            try:
                steps.append(_step(self._settable(name), value))
            except ControlError as exc:
                problems.append(exc)
        for name, value in expect.items():
            try:
                _check_expected(self._control(name), value)
            except ControlError as exc:
                problems.append(exc)
        if not problems:
            return steps, None
        shown = [str(problem) for problem in problems[:_MOST_PROBLEMS]]
        if len(problems) > _MOST_PROBLEMS:
            shown.append(f"and {len(problems) - _MOST_PROBLEMS} more problems")
        cause = problems[0].__cause__
        trace = traceback_text(cause) if cause is not None else None
        return [], Verdict("rejected", reason="; ".join(shown), traceback=trace)

    def _controls(self) -> list[Control]:
        return [each for each in self._declared.values() if isinstance(each, Control)]

    def _settable(self, name: str) -> Control:
        control = self._control(name)
        if control.quarantined:
            text = (
                f"quarantined after {control.failures} failures in a row, the last was "
                f"{control.last_failure}; register its handler again to get it back"
            )
            raise ControlError(name, text)
        return control

    def _control(self, name: str) -> Control:
        declared = self._declared.get(name)
        if isinstance(declared, Control):
            return declared
        if declared is not None:
            raise ControlError(name, "an action, not a control; it can be run but not set")
        raise _unknown("control", name, [control.name for control in self._controls()])

    def _action(self, name: str) -> Action:
        declared = self._declared.get(name)
        if isinstance(declared, Action):
            return declared
        if declared is not None:
            raise ControlError(name, "a control, not an action; it can be set but not run")
        known = [each.name for each in self._declared.values() if isinstance(each, Action)]
        raise _unknown("action", name, known)


def _declare(function: Function, mark: Mark) -> Control | Action:
    name = _check_name(mark.name, function)
    if mark.kind == "control":
        return Control(name, function, scope=mark.scope, **mark.options)
    return Action(name, function, scope=mark.scope, **mark.options)


def _step(control: Control, value: Value) -> Step:
    try:
        given = control.shape.decode(value)
        new = encode(given)
    except ValueError as exc:
        raise ControlError(control.name, str(exc)) from exc.__cause__
    old, raw = control.current()
    return Step(control, given, new, old, raw)


def _check_expected(control: Control, value: Value) -> None:
    current, _ = control.current()
    if current is UNKNOWN:
        text = f"expected to be {short(value)}, but its current value is not known"
        raise ControlError(control.name, text)
    wanted = control.shape.normal(value)
    # Not a bare ==: NaN is what it is.
    if wanted != current and msgspec.msgpack.encode(wanted) != msgspec.msgpack.encode(current):
        text = f"expected to be {short(value)}, but it is {short(current)}"
        if control.last_by and current == control.last:
            text = f"{text}, {control.last_by}"
        raise ControlError(control.name, text)


def _unknown(what: str, name: str, known: list[str]) -> ControlError:
    shown = ", ".join(known[:_MOST_NAMES]) or "none"
    if len(known) > _MOST_NAMES:
        shown += f" and {len(known) - _MOST_NAMES} more"
    return ControlError(short(name)[1:-1], f"unknown {what}; known here: {shown}")


def _check_is_name(name: object) -> None:
    if name is None or isinstance(name, str):
        return
    hint = "write `()` after the decorator's name" if callable(name) else "give it as text"
    msg = f"the name of a control or an action must be str, got {short(name)}; {hint}."
    raise TypeError(msg)


def _check_name(name: str | None, function: Function) -> str:
    if name is None:
        name = str(getattr(function, "__name__", ""))
    if _NAME.match(name):
        return name
    valid = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip("0123456789.-")[:64].strip("_")
    msg = (
        f"the name of a control or an action must be a letter or _ and then up to 63 of "
        f"A-Z a-z 0-9 _ . -, got {short(name)}; a valid spelling is {valid or 'my_control'!r}."
    )
    raise ValueError(msg)

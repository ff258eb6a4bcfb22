"""One control, and one action: a function, the types of what it takes, and what it last did."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from weavelet.exceptions import ControlError
from weavelet.messages import ControlSpec, Value
from weavelet.schema import arguments_schema, value_schema
from weavelet.signatures import (
    Function,
    all_parameters,
    check_plain_function,
    first_paragraph,
    single_type,
    title,
)
from weavelet.values import UNKNOWN, Shape, Unknown, encode, short

FAILURES_TO_QUARANTINE = 3


class Declaration:
    """What controls and actions have in common.

    Raises:
        TypeError: the function cannot be called to do its work.
    """

    kind: ClassVar[Literal["control", "action"]]

    def __init__(
        self, name: str, function: Function, *, doc: str, danger: bool, idempotent: bool
    ) -> None:
        check_plain_function(function)
        self.name = name
        self.function = function
        self.doc = doc or first_paragraph(function)
        self.danger = danger
        self.idempotent = idempotent
        self._schema: str | None = None

    def _extra(self) -> dict[str, Any]:
        extra: dict[str, Any] = {"description": self.doc} if self.doc else {}
        if self.danger:
            extra["x-danger"] = True
        return extra


class Control(Declaration):
    """A named, typed value that can be set.

    `last` is what was last applied, as plain data, and `last_by` by whom, in words.
    """

    kind = "control"

    def __init__(
        self,
        name: str,
        function: Function,
        *,
        scope: Mapping[str, Any],
        type: Any,
        get: object,
        unit: str,
        doc: str,
        danger: bool,
        idempotent: bool,
    ) -> None:
        super().__init__(name, function, doc=doc, danger=danger, idempotent=idempotent)
        if get is not None and not callable(get):
            msg = (
                f"{title(function)}: get must be a function without parameters, got "
                f"{short(get)}; write it as `get=lambda: ...`."
            )
            raise TypeError(msg)
        if get is not None:
            check_plain_function(get)
        self.shape = _shape(function, single_type(function, scope, type))
        self.get: Callable[[], object] | None = get
        self.unit = unit
        self.last: Value | Unknown = UNKNOWN
        self.last_by = ""
        self.failures = 0
        self.last_failure = ""

    @property
    def quarantined(self) -> bool:
        """Whether it failed too often in a row to be tried again."""
        return self.failures >= FAILURES_TO_QUARANTINE

    def current(self) -> tuple[Value | Unknown, Any]:
        """The value as plain data, and as `get` gave it.

        Raises:
            ControlError: `get` raised, or gave what cannot be sent.
        """
        if self.get is None:
            return self.last, self.last
        try:
            raw = self.get()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:  # the user's code: whatever it raises, training goes on
            raise ControlError(self.name, f"get raised {error_text(exc)}") from exc
        try:
            return self.shape.normal(encode(raw)), raw
        except ValueError as exc:
            raise ControlError(self.name, f"what get returns {exc}") from None

    def effective(self) -> Value | Unknown:
        """The value as plain data, unknown where `get` fails."""
        try:
            return self.current()[0]
        except ControlError:
            return UNKNOWN

    def spec(self) -> ControlSpec:
        """How the rest of the system sees it now."""
        if self._schema is None:
            extra = {**self._extra(), **({"x-unit": self.unit} if self.unit else {})}
            self._schema = value_schema(self.shape.declared, extra)
        value = self.effective()
        return ControlSpec(
            name=self.name,
            kind="control",
            schema=self._schema,
            unit=self.unit,
            doc=self.doc,
            danger=self.danger,
            idempotent=self.idempotent,
            value=None if value is UNKNOWN else value,
            quarantined=self.quarantined,
        )


class Action(Declaration):
    """A named function with typed, named arguments and a result."""

    kind = "action"

    def __init__(
        self,
        name: str,
        function: Function,
        *,
        scope: Mapping[str, Any],
        doc: str,
        danger: bool,
        idempotent: bool,
    ) -> None:
        super().__init__(name, function, doc=doc, danger=danger, idempotent=idempotent)
        found = all_parameters(function, scope)
        self.shapes = {each.name: _shape(function, each.declared) for each in found}
        self._defaults = {
            each.name: each.default for each in found if each.default is not inspect.Parameter.empty
        }

    def decode(self, arguments: Mapping[str, Value]) -> dict[str, Any]:
        """The arguments in their declared types.

        Raises:
            ControlError: one does not fit, is missing or is not known; the text names all of them.
        """
        problems = []
        decoded = {}
        for name, value in arguments.items():
            if name not in self.shapes:
                known = ", ".join(self.shapes) or "none"
                problems.append(f"unknown argument {short(name)} (known: {known})")
                continue
            try:
                decoded[name] = self.shapes[name].decode(value)
            except ValueError as exc:
                problems.append(f"{name}: {exc}")
        problems.extend(
            f"argument {name!r} is missing"
            for name in self.shapes
            if name not in arguments and name not in self._defaults
        )
        if problems:
            raise ControlError(self.name, "; ".join(problems[:10]))
        return decoded

    def spec(self) -> ControlSpec:
        """How the rest of the system sees it."""
        if self._schema is None:
            self._schema = arguments_schema(
                {name: shape.declared for name, shape in self.shapes.items()},
                [name for name in self.shapes if name not in self._defaults],
                self._plain_defaults(),
                self._extra(),
            )
        return ControlSpec(
            name=self.name,
            kind="action",
            schema=self._schema,
            doc=self.doc,
            danger=self.danger,
            idempotent=self.idempotent,
        )

    def _plain_defaults(self) -> dict[str, Value]:
        plain = {}
        for name, default in self._defaults.items():
            try:
                plain[name] = encode(default)
            except ValueError:
                # The function's own business: no form can show it.
                continue
        return plain


def error_text(exc: BaseException) -> str:
    """An exception in one line of at most 500 characters."""
    try:
        text = " ".join(str(exc)[:2000].split())
    except Exception:  # a __str__ of the user's may be broken, too
        text = "(its text cannot be had)"
    name = type(exc).__name__
    line = f"{name}: {text}" if text else name
    return line if len(line) <= 500 else line[:497] + "..."


def _shape(function: Function, declared: Any) -> Shape:
    try:
        return Shape(declared)
    except Exception as exc:  # msgspec evaluates annotations of the user's classes: anything
        first_line = str(exc).partition("\n")[0][:300]
        msg = (
            f"{title(function)}: {declared!r:.200} cannot be read from a command ({first_line}); "
            f"use a type that msgspec can decode, such as float, Literal[...], an Enum or a "
            f"dataclass, or give one as `type=...`."
        )
        raise TypeError(msg) from exc

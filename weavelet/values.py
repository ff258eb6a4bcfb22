"""Values as they travel and as handlers take them."""

from __future__ import annotations

import math
import re
import reprlib
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import inspect as mi

from weavelet.messages import Value
from weavelet.schema import describe, has_fields, parts, surplus, unsupported

UNKNOWN = msgspec.UNSET
"""Where None could be a value."""

Unknown: TypeAlias = msgspec.UnsetType

_SHORT = 200
_WHERE = re.compile(r"(?P<head>.*) - at `(?P<where>\$[^`]*)`\Z", re.DOTALL)
_STEP = re.compile(r"\.[^.\[]+|\[[^\]]*\]")

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _SHORT
_short.maxlist = _short.maxtuple = _short.maxset = _short.maxfrozenset = _short.maxdict = 8


def short(value: object) -> str:
    """A repr of at most 200 characters, however large the value."""
    text = _short.repr(value)
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."


class Shape:
    """A type that plain data can be decoded into.

    Raises:
        TypeError: msgspec cannot decode the type, or it has no JSON Schema.
    """

    __slots__ = ("_has_fields", "declared", "info")

    def __init__(self, declared: Any) -> None:
        self.declared = declared
        self.info = mi.type_info(declared)
        refused = unsupported(self.info)
        if refused is not None:
            msg = f"{refused!r} cannot be decoded from plain data"
            raise TypeError(msg)
        self._has_fields = has_fields(self.info)
        if self._has_fields:
            # Defaults of fields may be of any kind: find out now, not when a command waits.
            msgspec.json.schema_components([declared])

    def decode(self, value: Value) -> Any:
        """The value in the declared type; text is read by msgspec's lax rules.

        Raises:
            ValueError: it does not fit; the text says what was expected, what was got, and where.
        """
        try:
            decoded = msgspec.convert(value, self.declared, strict=False)
        except msgspec.ValidationError as exc:
            raise ValueError(_refusal(self.info, value, self._locate(value, str(exc)))) from None
        except Exception as exc:  # __post_init__ and _missing_ of the user's classes run in there
            msg = f"{type(exc).__name__}: {str(exc)[:_SHORT]}, got {short(value)}"
            raise ValueError(msg) from exc
        if self._has_fields:
            found = surplus(self.info, value)
            if found is not None:
                where, what = found
                place = "" if where == "$" else f" at {where[:_SHORT]}"
                msg = f"{what}{place}, got {short(value)}"
                raise ValueError(msg)
        return decoded

    def _locate(self, value: object, text: str) -> str:
        """Msgspec's text with the key of an object's item in it, which it leaves out."""
        if "`$[...]" in text and isinstance(value, dict):
            for key, item in value.items():
                try:
                    msgspec.convert({key: item}, self.declared, strict=False)
                except msgspec.ValidationError as exc:
                    if str(exc) == text:
                        return text.replace("`$[...]", f"`$[{key!r}]", 1)
        return text

    def normal(self, data: Value) -> Value:
        """Plain data as it looks after a way through the declared type; itself if it has none."""
        try:
            return encode(self.decode(data))
        except ValueError:
            return data


def _refusal(info: mi.Type, value: object, text: str) -> str:
    match = _WHERE.match(text)
    head, where = (match["head"], match["where"]) if match else (text, "$")
    place = "" if where == "$" else f" at {where[:_SHORT]}"
    for step in _STEP.findall(where):
        found = next((part for part in parts(info, value) if part[0] == step), None)
        if found is None:
            break
        _, info, value = found
    else:
        if head.startswith(("Expected", "Invalid")):
            return f"expected {describe(info)}{place}, got {short(value)}"
    return f"{head[:1].lower()}{head[1:_SHORT]}{place}, got {short(value)}"


def encode(value: object, *, order: Literal["deterministic"] | None = "deterministic") -> Value:
    """Plain data for a value: what a message can carry.

    Numbers and arrays of other libraries (anything with `tolist()`) become numbers and lists. Sets
    become sorted lists and dicts are sorted, so that it is the same in every process, unless
    `order` is None.

    Raises:
        ValueError: it cannot be sent; the text begins with a verb.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if isinstance(value, float) and kind is float:
        return math.nan if math.isnan(value) else value
    if isinstance(value, int) and kind is int and -(2**63) <= value < 2**63:
        return value
    try:
        data = _plain(_builtins(value, order))
        msgspec.msgpack.encode(data)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        msg = f"cannot be sent ({str(exc)[:_SHORT]}), got {short(value)}"
        raise ValueError(msg) from None
    return data


def _builtins(value: object, order: Literal["deterministic"] | None) -> Value:
    try:
        return msgspec.to_builtins(value, str_keys=True, enc_hook=_foreign, order=order)
    except TypeError:
        if order is None:
            raise
        # Sorting also fails for a set of unlike things.
        return _builtins(value, None)


def _foreign(value: Any) -> Any:
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    tolist = getattr(value, "tolist", None)
    if callable(tolist):
        return tolist()
    msg = f"{type(value).__name__} is not plain data"
    raise TypeError(msg)


def _plain(value: Value) -> Value:
    match value:
        case bool():
            return value
        case int():
            if not -(2**63) <= value < 2**63:
                msg = "an integer of more than 64 bits"
                raise ValueError(msg)
            return value
        case float():
            return math.nan if math.isnan(value) else value
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
    return value

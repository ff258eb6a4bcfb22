"""Text of the command line to values, by the JSON Schema that a control or action registered."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from weavelet.client.expectation import admits, describe, resolve, variants, violation
from weavelet.exceptions import CommandError

_BOOLEANS = {"true": True, "false": False}
_DIGITS = {"1": True, "0": False}
_WORDS = {"yes": True, "on": True, "no": False, "off": False}
_NUMERIC = {"integer", "number"}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_ABSENT = object()

Schema = Mapping[str, Any]


def assignments(pairs: Sequence[str], *, at_least: int = 0, option: str = "") -> dict[str, str]:
    """`["lr=0.1"]` as `{"lr": "0.1"}`; only the first `=` of each divides.

    `option` is where they were given, for the errors.

    Raises:
        CommandError: `invalid_value` if one has no `=`, a name comes twice, or there are too few.
    """
    values: dict[str, str] = {}
    place = f"{option}: " if option else ""
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            msg = f"{place}expected name=value, got {pair!r}"
            raise CommandError("invalid_value", msg, exit_code=2)
        if name in values:
            msg = f"{place}{name} is given twice: {values[name]!r} and {text!r}"
            raise CommandError("invalid_value", msg, exit_code=2)
        values[name] = text
    if len(values) < at_least:
        msg = "expected at least one name=value, such as lr=0.01"
        raise CommandError("invalid_value", msg, exit_code=2)
    return values


def control_values(
    texts: Mapping[str, str], schemas: Mapping[str, Schema], *, option: str = ""
) -> dict[str, Any]:
    """Each text as a value of the control that it names; `option` is where it was given.

    Raises:
        CommandError: `unknown_control`, or `invalid_value` for text that fits no type.
    """
    for name in texts:
        if name not in schemas:
            raise unknown("control", name, schemas)
    return {
        name: value(f"{option} {name}".lstrip(), text, schemas[name])
        for name, text in texts.items()
    }


def arguments(action: str, texts: Mapping[str, str], schema: Schema) -> dict[str, Any]:
    """Each text as an argument of an action; `schema` is that of the object of all of them.

    Raises:
        CommandError: `invalid_value` for an unknown, a missing or an unfit argument.
    """
    definitions = schema.get("$defs", {})
    schema = resolve(schema, definitions)
    properties: Mapping[str, Schema] = schema.get("properties", {})
    for name in texts:
        if name not in properties:
            raise unknown("argument", name, properties, code="invalid_value")
    for name in schema.get("required", ()):
        if name not in texts:
            msg = f"{action} needs {name}=…: {describe(properties.get(name, {}), definitions)}"
            raise CommandError("invalid_value", msg, known=list(properties))
    return {
        name: value(name, text, {"$defs": definitions, **properties[name]})
        for name, text in texts.items()
    }


def value(name: str, text: str, schema: Schema) -> Any:
    """The value that `text` stands for.

    Where a schema leaves a choice: null, then true and false, numbers, lists and objects as JSON,
    and a string last; where only a string is allowed, the text as it was typed. For true and false
    also 1 and 0, yes and no, on and off, unless the type knows these as something else.

    Raises:
        CommandError: `invalid_value`, saying what was expected.
    """
    definitions = schema.get("$defs", {})
    choices = variants(schema, definitions)
    first: Any = _ABSENT
    for candidate in _candidates(text, choices, definitions):
        if admits(schema, candidate):
            return candidate
        if first is _ABSENT:
            first = candidate
    if isinstance(first, (list, dict)):
        problem = violation(name, schema, first)
    else:
        problem = f"{name}: expected {_typed(schema, choices)}, got {text!r}"
    raise CommandError("invalid_value", problem)


def unknown(
    what: str, name: str, known: Iterable[str], *, code: str = "unknown_control"
) -> CommandError:
    """The error for a name that does not exist, with the nearest that does."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return CommandError(code, f"There is no {what} {name!r}.{hint}", known=names)


def seconds(option: str, text: str) -> float:
    """A duration such as `10m`, `90s`, `1.5h` or `250ms`; a bare number is in seconds.

    Raises:
        CommandError: `invalid_value` if it is none.
    """
    match = _DURATION.match(text.strip())
    if match is None or not float(match[1]):
        msg = f"{option}: expected a duration such as 90s, 10m or 2h, got {text!r}"
        raise CommandError("invalid_value", msg, exit_code=2)
    return float(match[1]) * _SECONDS[match[2]]


def _candidates(
    text: str, choices: Sequence[Schema], definitions: Mapping[str, Schema]
) -> Iterator[Any]:
    kinds = {kind for choice in choices for kind in _types(choice)}
    listed = [item for choice in choices for item in _listed(choice)]
    yield from (item for item in listed if isinstance(item, str) and item == text)
    yield from (item for item in listed if not isinstance(item, str) and _spelled(item, text))
    if kinds == {"string"}:
        yield text
        return
    if not kinds and listed:
        return
    anything = not kinds
    parsed = _json(text)
    if ("null" in kinds or anything) and text == "null":
        yield None
    if "boolean" in kinds:
        yield from _truths(text.lower(), kinds)
    if "integer" in kinds and (whole := _integer(text)) is not None:
        yield whole
    if "number" in kinds and (real := _number(text)) is not None:
        yield real
    if isinstance(parsed, list) and "array" in kinds:
        yield parsed
    if isinstance(parsed, dict) and "object" in kinds:
        yield parsed
    if parsed is not _ABSENT and (anything or ("string" in kinds and isinstance(parsed, str))):
        yield parsed
    if "string" in kinds or anything:
        yield text


def _truths(text: str, kinds: AbstractSet[str]) -> Iterator[bool]:
    words = {
        **_BOOLEANS,
        **({} if kinds & _NUMERIC else _DIGITS),
        **({} if "string" in kinds else _WORDS),
    }
    if text in words:
        yield words[text]


def _types(schema: Schema) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _listed(schema: Schema) -> list[Any]:
    return [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]


def _spelled(item: Any, text: str) -> bool:
    parsed = _json(text)
    return parsed is not _ABSENT and type(parsed) is type(item) and bool(parsed == item)


def _integer(text: str) -> int | None:
    if re.fullmatch(r"[+-]?\d+", text):
        return _in_64_bits(int(text))
    real = _number(text)
    return _in_64_bits(int(real)) if real is not None and real.is_integer() else None


def _in_64_bits(number: int) -> int | None:
    return number if -(2**63) <= number < 2**63 else None


def _number(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return _ABSENT


def _typed(schema: Schema, choices: Sequence[Schema]) -> str:
    text = describe(schema, schema.get("$defs", {}))
    kinds = {kind for choice in choices for kind in _types(choice)}
    if "array" in kinds:
        return f"{text}, typed as JSON such as [1,2]"
    return f'{text}, typed as JSON such as {{"a":1}}' if "object" in kinds else text

"""Early validation of a command's values against the schemas that replicas registered.

The trainer has the last word; this is here so that a typing error is answered at once and in plain
words. What is refused here the trainer would refuse as well: text is as good as what it stands for,
as it is there. A schema that cannot be used (malformed, with references outside itself, or larger
than anybody waits for) passes all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import jsonschema
import msgspec
import referencing
import referencing.exceptions

from weavelet.exceptions import CommandError
from weavelet.weaver.cache import Cache
from weavelet.weaver.expanding import is_readable
from weavelet.weaver.jsonable import branches, fits, from_json
from weavelet.weaver.lenient import BOUNDS, Lenient

_PLAIN = {
    "boolean": "true or false",
    "null": "null",
    "string": "text",
    "object": "an object",
    "array": "a list",
    "number": "a number",
    "integer": "an integer",
}

LONGEST = 64 * 1024
"""Characters of a schema; what is longer is not looked at."""
_MOST_LEVELS = 100
_MOST_VALUES = 2000
"""Values in a schema, whatever they are: checking one takes up to 0.2 ms."""
_KEPT_CHARACTERS = 4 * 1024 * 1024


def parse(text: str) -> dict[str, Any]:
    """The JSON Schema in `text`; an empty one, which takes anything, if it cannot be used."""
    schema: dict[str, Any] = _validator(text).schema
    return schema


def _read(text: str) -> dict[str, Any]:
    try:
        schema = msgspec.json.decode(text)
        if not isinstance(schema, dict) or not _is_small(schema):
            return {}
        jsonschema.Draft202012Validator.check_schema(schema)
        if not is_readable(schema):
            return {}
    except (msgspec.DecodeError, RecursionError, jsonschema.SchemaError):
        return {}
    return schema


def _is_small(schema: Any) -> bool:
    """Whether it is soon checked, and can be read again inside of what clients are sent."""
    level, values = [schema], 0
    for _ in range(_MOST_LEVELS):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        values += len(level)
    return not level and values <= _MOST_VALUES


def _make_validator(text: str) -> Any:
    # An empty registry of our own: the default one fetches references from the network.
    return Lenient(_read(text), registry=referencing.Registry())


_kept = Cache(_make_validator, _KEPT_CHARACTERS)
_anything = _make_validator("{}")


def _validator(text: str) -> Any:
    return _kept(text) if len(text) <= LONGEST else _anything


def checked(name: str, value: Any, schema_text: str) -> Any:
    """`value` as it goes into the log.

    Raises:
        CommandError: `invalid_value`, with a text that says what was expected and what was got.
    """
    schema = _validator(schema_text).schema
    if not fits(value):
        raise _invalid(name, f"expected integers of 64 bits, got {_short(value)}")
    error = _first_error(schema_text, value)
    if error is not None:
        place = ".".join([name, *map(str, error.absolute_path)])
        raise _invalid(place, _explain(error, schema))
    return from_json(value, schema)


def describe(schema: Any, root: dict[str, Any]) -> str:
    """What `schema` accepts, in words: `a number > 0 and <= 1`."""
    found = [_describe_one(branch, root) for branch in branches(schema, root)]
    return " or ".join(dict.fromkeys(found)) or "something else"


def _invalid(place: str, text: str) -> CommandError:
    return CommandError("invalid_value", f"{place}: {text}")


def _first_error(schema_text: str, value: Any) -> Any:
    try:
        error = jsonschema.exceptions.best_match(_validator(schema_text).iter_errors(value))
    except (referencing.exceptions.Unresolvable, RecursionError):
        return None
    while error is not None and error.parent and error.parent.absolute_path == error.absolute_path:
        error = error.parent  # name all alternatives, not the one that came nearest
    return error


def _explain(error: Any, root: dict[str, Any]) -> str:
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"expected {_quoted(missing)} too, got {_short(error.instance)}"
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        extra = [name for name in error.instance if name not in known]
        return f"expected only {_quoted(known) or 'no arguments'}, got {_quoted(extra)} too"
    return f"expected {describe(error.schema, root)}, got {_short(error.instance)}"


def _describe_one(schema: dict[str, Any], root: dict[str, Any]) -> str:
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        choices = _quoted(schema["enum"])
        return f"one of {choices}" if len(schema["enum"]) > 1 else choices
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind] if kind else []
    words = " or ".join(_PLAIN.get(one, str(one)) for one in kinds)
    if kinds == ["array"] and isinstance(schema.get("items"), dict):
        words = f"a list, each item {describe(schema['items'], root)}"
    limits = [f"{sign} {schema[key]}" for key, sign in BOUNDS if key in schema]
    if "multipleOf" in schema:
        limits.append(f"a multiple of {schema['multipleOf']}")
    if "pattern" in schema:
        limits.append(f"matching {schema['pattern']!r}")
    limits += _lengths(schema)
    return " ".join(part for part in (words, " and ".join(limits)) if part) or "something else"


def _lengths(schema: dict[str, Any]) -> list[str]:
    names = (("minLength", "at least"), ("maxLength", "at most"))
    found = [f"{words} {schema[key]} characters" for key, words in names if key in schema]
    names = (("minItems", "at least"), ("maxItems", "at most"))
    return found + [f"{words} {schema[key]} items" for key, words in names if key in schema]


def _quoted(names: Iterable[Any]) -> str:
    return ", ".join(repr(name) for name in names)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."

"""What a JSON Schema expects, in few words, and what is wrong with a value that it refuses."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import referencing
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from referencing.exceptions import Unresolvable

Schema = Mapping[str, Any]

_ARTICLES = {
    "number": "a number",
    "integer": "an integer",
    "string": "a string",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
_PLURALS = {
    "number": "numbers",
    "integer": "integers",
    "string": "strings",
    "boolean": "true or false",
    "array": "lists",
    "object": "objects",
}
_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
_FINITE = (f"<= {sys.float_info.max}", f">= {-sys.float_info.max}")
"""Bounds that keep out the infinities alone."""

_DEPTH = 32


def resolve(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """The schema with a leading `$ref` into `$defs` followed; what stands beside it is kept."""
    for _ in range(_DEPTH):
        reference = schema.get("$ref")
        if reference is None:
            break
        target = definitions.get(str(reference).rpartition("/")[2], {})
        schema = {**target, **{key: item for key, item in schema.items() if key != "$ref"}}
    return schema


def variants(schema: Schema, definitions: Mapping[str, Schema]) -> list[Schema]:
    """The alternatives of `anyOf` and `oneOf`, flattened; the schema itself without them."""
    schema = resolve(schema, definitions)
    options = schema.get("anyOf") or schema.get("oneOf")
    if not options:
        return [schema]
    return [variant for option in options for variant in variants(option, definitions)]


def admits(schema: Schema, value: Any) -> bool:
    """Whether the schema accepts the value. NaN lies within no bounds."""
    return not _errors(schema, value)


def violation(name: str, schema: Schema, value: Any) -> str:
    """What is wrong with a value that `admits` refuses, with the path to the place."""
    definitions = schema.get("$defs", {})
    error = best_match(_errors(schema, value))
    if error is None:
        return f"{name}: expected {describe(schema, definitions)}, got {value!r}"
    path = name + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    )
    match error.validator:
        case "required":
            missing = [key for key in error.validator_value if key not in error.instance]
            return f"{path}: missing {', '.join(map(repr, missing))}"
        case "additionalProperties" if error.validator_value is False:
            fields = error.schema.get("properties", {})
            extra = [key for key in error.instance if key not in fields]
            return f"{path}: no field {', '.join(map(repr, extra))}; known: {', '.join(fields)}"
        case "uniqueItems":
            return f"{path}: expected no item twice, got {show(error.instance)}"
    return f"{path}: expected {describe(error.schema, definitions)}, got {show(error.instance)}"


def describe(schema: Schema | bool, definitions: Mapping[str, Schema] | None = None) -> str:
    """`a number > 0 and <= 1`, `one of 'sgd', 'adam'`, `a list of integers`."""
    if isinstance(schema, bool):
        return "any value" if schema else "nothing more"
    definitions = definitions or {}
    texts = [_describe_one(variant, definitions) for variant in variants(schema, definitions)]
    unique = list(dict.fromkeys(texts))
    return " or ".join(unique)


def show(value: Any) -> str:
    """A value as the user would type it in JSON; a bare string in quotes."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    try:
        return msgspec.json.encode(value).decode() if not isinstance(value, str) else repr(value)
    except (TypeError, ValueError):
        return repr(value)


def _describe_one(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    if "enum" in schema or "const" in schema:
        return _one_of(schema.get("enum", [schema.get("const")]))
    kinds = schema.get("type", "")
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    return " or ".join(_describe_type(kind, schema, definitions) for kind in names)


def _describe_type(kind: str, schema: Schema, definitions: Mapping[str, Schema]) -> str:
    text = _ARTICLES.get(kind, "any value")
    if kind in ("number", "integer"):
        return text + _numeric_bounds(schema)
    if kind == "string":
        return text + _length("character", schema, "minLength", "maxLength") + _pattern(schema)
    if kind == "array":
        return text + _items(schema, definitions)
    if kind == "object" and schema.get("properties"):
        fields = _fields(schema)
        return f"an object {{{', '.join(fields)}}}"
    return text


def _one_of(options: Sequence[Any]) -> str:
    shown = ", ".join(show(option) for option in options)
    return shown if len(options) == 1 else f"one of {shown}"


def _numeric_bounds(schema: Schema) -> str:
    bounds = [f"{sign} {_limit(schema[key])}" for key, sign in _BOUNDS.items() if key in schema]
    if "multipleOf" in schema:
        bounds.append(f"a multiple of {_limit(schema['multipleOf'])}")
    words = ["finite" if bound in _FINITE else bound for bound in bounds]
    return " " + " and ".join(dict.fromkeys(words)) if words else ""


def _limit(value: float) -> str:
    return str(value).removesuffix(".0")


def _length(unit: str, schema: Schema, low: str, high: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        return ""
    if least == most:
        return f" of {least} {unit}{'' if least == 1 else 's'}"
    parts = [f"at least {least}"] if least is not None else []
    parts += [f"at most {most}"] if most is not None else []
    return f" of {' and '.join(parts)} {unit}s"


def _pattern(schema: Schema) -> str:
    return f" matching {schema['pattern']!r}" if "pattern" in schema else ""


def _items(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    if prefix := schema.get("prefixItems"):
        return f" [{', '.join(describe(item, definitions) for item in prefix)}]"
    items = schema.get("items")
    size = _length("item", schema, "minItems", "maxItems")
    if not isinstance(items, Mapping) or not items:
        return size
    item = resolve(items, definitions)
    kind = item.get("type")
    if isinstance(kind, str) and kind in _PLURALS and "enum" not in item:
        bounds = _numeric_bounds(item) if kind in ("number", "integer") else ""
        return f" of {_PLURALS[kind]}{bounds}{',' + size.removeprefix(' of') if size else ''}"
    return f"{size}, each {describe(items, definitions)}"


def _fields(schema: Schema) -> list[str]:
    required = set(schema.get("required", ()))
    return [name if name in required else f"{name}?" for name in schema["properties"]]


def _errors(schema: Schema, value: Any) -> list[Any]:
    # A schema that cannot be used refuses nothing: the trainer has the last word. The registry is
    # an empty one of our own, since the default one fetches references from the network.
    validator = _Validator(schema, registry=referencing.Registry())
    try:
        validator.check_schema(schema)
        return list(validator.iter_errors(value))
    except (SchemaError, Unresolvable, RecursionError):
        return []


def _bound(keyword: str) -> Callable[..., Iterator[Any]]:
    strict: Any = Draft202012Validator.VALIDATORS[keyword]

    def check(validator: Any, limit: Any, value: Any, schema: Schema) -> Iterator[Any]:
        # jsonschema finds that NaN crosses no bound, and cannot divide what is infinite.
        if isinstance(value, float) and (
            math.isnan(value) or (keyword == "multipleOf" and math.isinf(value))
        ):
            yield ValidationError(f"{value!r} is within no bounds")
        else:
            yield from strict(validator, limit, value, schema) or ()

    return check


_extend: Any = validators.extend
_Validator = _extend(
    Draft202012Validator, {keyword: _bound(keyword) for keyword in (*_BOUNDS, "multipleOf")}
)

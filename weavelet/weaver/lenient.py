"""JSON Schema as lenient as a trainer, where text is as good as what it stands for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema

from weavelet.weaver.expanding import is_slow
from weavelet.weaver.jsonable import as_kind

BOUNDS = (
    ("exclusiveMinimum", ">"),
    ("minimum", ">="),
    ("exclusiveMaximum", "<"),
    ("maximum", "<="),
)

_Check = Callable[[Any, Any, Any, dict[str, Any]], Iterator[Any]]


def _strict(
    keyword: str, validator: Any, wanted: Any, value: Any, schema: dict[str, Any]
) -> Iterator[Any]:
    check: Any = jsonschema.Draft202012Validator.VALIDATORS[keyword]
    yield from check(validator, wanted, value, schema) or ()


def _lax_type(validator: Any, wanted: Any, value: Any, schema: dict[str, Any]) -> Iterator[Any]:
    kinds = {wanted} if isinstance(wanted, str) else set(wanted)
    if isinstance(value, str) and as_kind(value, kinds - {"array", "object"}, value) is not value:
        return
    if "boolean" in kinds and isinstance(value, int) and value in (0, 1):
        return
    yield from _strict("type", validator, wanted, value, schema)


def _lax_enum(validator: Any, choices: Any, value: Any, schema: dict[str, Any]) -> Iterator[Any]:
    if isinstance(value, str) and as_kind(value, {"integer", "null"}, value) in choices:
        return
    yield from _strict("enum", validator, choices, value, schema)


def _lax_bound(keyword: str) -> _Check:
    def check(validator: Any, limit: Any, value: Any, schema: dict[str, Any]) -> Iterator[Any]:
        if isinstance(value, str):
            value = as_kind(value, {"number", "integer"}, value)
        if isinstance(value, float) and (
            math.isnan(value) or (keyword == "multipleOf" and math.isinf(value))
        ):
            # Every comparison with NaN is false, so that no bound would be crossed.
            yield jsonschema.ValidationError(f"{value!r} is within no bounds")
            return
        yield from _strict(keyword, validator, limit, value, schema)

    return check


def _lax_required(validator: Any, names: Any, value: Any, schema: dict[str, Any]) -> Iterator[Any]:
    fields = schema.get("properties", {})
    # A tag, which a struct needs only where there are others to tell it from.
    needed = [name for name in names if len(fields.get(name, {}).get("enum", ())) != 1]
    yield from _strict("required", validator, needed, value, schema)


def _quick_pattern(
    validator: Any, pattern: Any, value: Any, schema: dict[str, Any]
) -> Iterator[Any]:
    """Without those that would hold up all runs; the trainer matches them."""
    if not (isinstance(value, str) and is_slow(pattern, value)):
        yield from _strict("pattern", validator, pattern, value, schema)


def _quick_properties(keyword: str) -> _Check:
    def check(validator: Any, wanted: Any, value: Any, schema: dict[str, Any]) -> Iterator[Any]:
        """Without those names that would hold up all runs."""
        patterns = schema.get("patternProperties", {})
        if isinstance(value, dict):
            value = {
                name: item
                for name, item in value.items()
                if not any(is_slow(pattern, name) for pattern in patterns)
            }
        yield from _strict(keyword, validator, wanted, value, schema)

    return check


def _any_properties(
    validator: Any, wanted: Any, value: Any, schema: dict[str, Any]
) -> Iterator[Any]:
    """No registered schema needs it, and it matches patterns from elsewhere."""
    yield from ()


def _any_items(validator: Any, wanted: Any, value: Any, schema: dict[str, Any]) -> Iterator[Any]:
    """A list with an item twice can be read as a set."""
    yield from ()


_extend: Any = jsonschema.validators.extend
Lenient = _extend(
    jsonschema.Draft202012Validator,
    {
        "type": _lax_type,
        "required": _lax_required,
        "enum": _lax_enum,
        "pattern": _quick_pattern,
        "patternProperties": _quick_properties("patternProperties"),
        "additionalProperties": _quick_properties("additionalProperties"),
        "unevaluatedProperties": _any_properties,
        "uniqueItems": _any_items,
        **{keyword: _lax_bound(keyword) for keyword, _ in (*BOUNDS, ("multipleOf", ""))},
    },
)

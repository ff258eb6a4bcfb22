"""Values as JSON, which has no word for NaN and the infinities.

They are written "NaN", "Infinity" and "-Infinity", and read back as numbers only where the schema
wants a number, so that a text control can still be set to "NaN".
"""

from __future__ import annotations

import math
from typing import Any

_NAMES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_INTEGERS = range(-(2**63), 2**63)


def to_json(value: Any) -> Any:
    """`value` with every non-finite float replaced by its name."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def from_json(value: Any, schema: Any, root: dict[str, Any] | None = None) -> Any:
    """`value` with the names of non-finite floats replaced where `schema` wants a number."""
    if not isinstance(schema, dict):
        return value
    root = schema if root is None else root
    if isinstance(value, str):
        if value in _NAMES and _types(schema, root) & {"number", "string"} == {"number"}:
            return _NAMES[value]
        return value
    if isinstance(value, dict):
        return {name: _follow(item, schema, root, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_follow(item, schema, root, place) for place, item in enumerate(value)]
    return value


def fits(value: Any) -> bool:
    """Whether all integers in `value` have 64 bits, the most that travels on the bus."""
    if isinstance(value, dict):
        return all(fits(item) for item in value.values())
    if isinstance(value, list):
        return all(fits(item) for item in value)
    return not isinstance(value, int) or value in _INTEGERS


def branches(schema: Any, root: dict[str, Any]) -> list[dict[str, Any]]:
    """The alternatives that `schema` stands for, with references followed."""
    found: list[dict[str, Any]] = []
    waiting, seen = [schema], set()
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, dict) or id(one) in seen:
            continue
        seen.add(id(one))
        reference = one.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/$defs/"):
            waiting.append(root.get("$defs", {}).get(reference.removeprefix("#/$defs/")))
        choices = [*one.get("anyOf", ()), *one.get("oneOf", ())]
        waiting.extend(choices)
        if not choices and reference is None:
            found.append(one)
    return found


def _types(schema: dict[str, Any], root: dict[str, Any]) -> set[str]:
    names: set[str] = set()
    for branch in branches(schema, root):
        kind = branch.get("type")
        if isinstance(kind, list):
            names.update(kind)
        elif kind is not None:
            names.add(kind)
        names.update("string" for item in branch.get("enum", ()) if isinstance(item, str))
    return names


def _follow(value: Any, schema: dict[str, Any], root: dict[str, Any], place: str | int) -> Any:
    for branch in branches(schema, root):
        inner = _inside(branch, place)
        if isinstance(inner, dict):
            return from_json(value, inner, root)
    return value


def _inside(schema: dict[str, Any], place: str | int) -> Any:
    if isinstance(place, str):
        properties = schema.get("properties", {})
        return properties.get(place, schema.get("additionalProperties"))
    prefix = schema.get("prefixItems", [])
    return prefix[place] if place < len(prefix) else schema.get("items")

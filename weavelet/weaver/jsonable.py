"""Values read from JSON, by the schema of the control that they are for.

Text stands for something else, such as "NaN" for a number, only where the schema wants no text, so
that a text control can still be set to "NaN".
"""

from __future__ import annotations

from typing import Any, Union

import msgspec

_TYPES: dict[str, Any] = {"number": float, "integer": int, "boolean": bool, "null": None}
_INTEGERS = range(-(2**63), 2**63)


def from_json(value: Any, schema: Any) -> Any:
    """`value` with text replaced where `schema` wants no text but what the text stands for.

    "0.1", "true" and "null" are read as a trainer reads them, and so are the names of non-finite
    floats. Where the schema leaves a choice the text stays: the trainer knows more.
    """
    return _read(value, [schema], schema if isinstance(schema, dict) else {})


def _read(value: Any, schemas: list[Any], root: dict[str, Any]) -> Any:
    found = [branch for schema in schemas for branch in branches(schema, root)]
    if isinstance(value, str):
        if any("enum" in branch for branch in found):
            return value
        return as_kind(value, {kind for branch in found for kind in kinds(branch)}, value)
    if isinstance(value, dict):
        return {name: _read(item, _inside(found, name), root) for name, item in value.items()}
    if isinstance(value, list):
        return [_read(item, _inside(found, place), root) for place, item in enumerate(value)]
    return value


def as_kind(text: str, wanted: set[str], otherwise: Any) -> Any:
    """What `text` stands for as one of these JSON types, `otherwise` if it is none of them."""
    if not wanted or wanted - _TYPES.keys():
        return otherwise
    # By the very rules of the trainer.
    declared: Any = Union[tuple(_TYPES[kind] for kind in sorted(wanted))]
    try:
        return msgspec.convert(text, declared, strict=False)
    except msgspec.ValidationError:
        return otherwise


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


def kinds(schema: dict[str, Any]) -> set[str]:
    """The JSON types that one branch of a schema admits, empty if it says nothing of them."""
    said = schema.get("type", [])
    names = {said} if isinstance(said, str) else {str(kind) for kind in said}
    for item in schema.get("enum", ()):
        names.add("string" if isinstance(item, str) else "null" if item is None else "integer")
    return names


def _inside(found: list[dict[str, Any]], place: str | int) -> list[Any]:
    inner = [_part(branch, place) for branch in found]
    return [one for one in inner if isinstance(one, dict)]


def _part(schema: dict[str, Any], place: str | int) -> Any:
    if isinstance(place, str):
        properties = schema.get("properties", {})
        return properties.get(place, schema.get("additionalProperties"))
    prefix = schema.get("prefixItems", [])
    return prefix[place] if place < len(prefix) else schema.get("items")

"""What a type asks of a value: in words, as JSON Schema, and part by part."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, Union

import msgspec
from msgspec import inspect as mi

_Object: TypeAlias = Union[mi.StructType, mi.TypedDictType, mi.DataclassType]
_OBJECTS = (mi.StructType, mi.TypedDictType, mi.DataclassType)
_UNSUPPORTED = (mi.CustomType, mi.ExtType, mi.RawType)
_WORDS: dict[type[mi.Type], str] = {
    mi.AnyType: "any value",
    mi.NoneType: "null",
    mi.BoolType: "bool",
    mi.BytesType: "base64 text",
    mi.ByteArrayType: "base64 text",
    mi.MemoryViewType: "base64 text",
    mi.DateTimeType: "a date and time such as 2026-01-31T12:00:00Z",
    mi.DateType: "a date such as 2026-01-31",
    mi.TimeType: "a time such as 12:00:00",
    mi.TimeDeltaType: "a duration such as PT1H30M",
    mi.UUIDType: "a uuid",
    mi.DecimalType: "a decimal number as text",
}
_MOST_CHOICES = 20
# Their contents are data, not schemas.
_DATA = ("default", "enum", "examples", "const")


def unsupported(info: mi.Type) -> Any | None:
    """The first type inside `info` that plain data cannot be decoded into, None if all can."""
    for part in _walk(info, set()):
        if isinstance(part, _UNSUPPORTED):
            return getattr(part, "cls", type(part).__name__)
    return None


def has_fields(info: mi.Type) -> bool:
    """Whether values of this type have named fields, or as many items as it has fields."""
    return any(isinstance(part, _OBJECTS) for part in _walk(info, set()))


def _walk(info: mi.Type, seen: set[int]) -> Iterator[mi.Type]:
    if id(info) in seen:
        return
    seen.add(id(info))
    yield info
    for child in _children(info):
        yield from _walk(child, seen)


def _children(info: mi.Type) -> Sequence[mi.Type]:
    match info:
        case mi.Metadata():
            return (info.type,)
        case mi.UnionType():
            return info.types
        case mi.CollectionType():
            return (info.item_type,)
        case mi.TupleType():
            return info.item_types
        case mi.DictType():
            return (info.key_type, info.value_type)
        case mi.StructType() | mi.TypedDictType() | mi.DataclassType() | mi.NamedTupleType():
            return [field.type for field in info.fields]
    return ()


def parts(info: mi.Type, value: object) -> Iterator[tuple[str, mi.Type, object]]:
    """The parts of plain data with their types: (".name" or "[index]" or "['key']", type, part)."""
    match _branch(info, value), value:
        case (mi.StructType() | mi.TypedDictType() | mi.DataclassType()) as kind, dict():
            for field in kind.fields:
                if field.encode_name in value:
                    yield f".{field.encode_name}", field.type, value[field.encode_name]
        case (mi.StructType() | mi.NamedTupleType()) as kind, list() | tuple():
            skip = 1 if isinstance(kind, mi.StructType) and kind.tag_field else 0
            for at, (field, item) in enumerate(zip(kind.fields, value[skip:], strict=False), skip):
                yield f"[{at}]", field.type, item
        case mi.TupleType() as kind, list() | tuple():
            for at, (item_type, item) in enumerate(zip(kind.item_types, value, strict=False)):
                yield f"[{at}]", item_type, item
        case mi.CollectionType() as kind, list() | tuple():
            for at, item in enumerate(value):
                yield f"[{at}]", kind.item_type, item
        case mi.DictType() as kind, dict():
            for key, item in value.items():
                yield f"[{key!r}]", kind.value_type, item


def surplus(info: mi.Type, value: object, where: str = "$") -> tuple[str, str] | None:
    """Where plain data holds more than its type has fields for, and what: msgspec lets it pass."""
    kind = _branch(info, value)
    if isinstance(kind, _OBJECTS):
        found = _unknown_fields(kind, value)
        if found is not None:
            return where, found
    for step, part_type, part in parts(info, value):
        deeper = surplus(part_type, part, where + step)
        if deeper is not None:
            return deeper
    return None


def _unknown_fields(kind: _Object, value: object) -> str | None:
    names = [field.encode_name for field in kind.fields]
    tag = kind.tag_field if isinstance(kind, mi.StructType) else None
    if isinstance(value, dict):
        unknown = [key for key in value if key not in names and key != tag]
        if unknown:
            known = ", ".join(names) or "none"
            return f"unknown field {str(unknown[0])[:64]!r} (known: {known})"
    elif isinstance(value, (list, tuple)) and len(value) > len(names) + bool(tag):
        return f"{len(value)} items where {', '.join(names) or 'nothing'} is expected"
    return None


def _branch(info: mi.Type, value: object) -> mi.Type | None:
    """The type itself, or the one of a union's types that plain data of this shape is meant for."""
    while isinstance(info, mi.Metadata):
        info = info.type
    if not isinstance(info, mi.UnionType):
        return info
    for option in info.types:
        found = _branch(option, value)
        if found is not None and _is_meant(found, value):
            return found
    return None


def _is_meant(kind: mi.Type, value: object) -> bool:
    array = isinstance(value, (list, tuple))
    match kind:
        case mi.StructType():
            if not isinstance(value, (dict, list, tuple)) or kind.array_like is not array:
                return False
            if kind.tag_field is None:
                return True
            if isinstance(value, dict):
                return bool(value.get(kind.tag_field) == kind.tag)
            return bool(value[:1] == [kind.tag])
        case mi.TypedDictType() | mi.DataclassType() | mi.DictType():
            return isinstance(value, dict)
        case mi.CollectionType() | mi.TupleType() | mi.NamedTupleType():
            return array
    return False


def describe(info: mi.Type) -> str:
    """The type in words, as they stand after "expected"."""
    match info:
        case mi.Metadata():
            return describe(info.type)
        case mi.IntType() | mi.FloatType():
            return _describe_number(info)
        case mi.StrType():
            pattern = f" matching {info.pattern!r}" if info.pattern is not None else ""
            return "str" + _describe_length(info) + pattern
        case mi.EnumType():
            return _describe_choices([member.value for member in info.cls])
        case mi.LiteralType():
            return _describe_choices(info.values)
        case mi.UnionType():
            return " or ".join(describe(option) for option in info.types)
        case mi.CollectionType():
            return f"list of {describe(info.item_type)}{_describe_length(info)}"
        case mi.TupleType():
            return f"list of ({', '.join(describe(item) for item in info.item_types)})"
        case mi.DictType():
            return f"object of {describe(info.value_type)}{_describe_length(info)}"
        case mi.StructType() | mi.TypedDictType() | mi.DataclassType() | mi.NamedTupleType():
            array = isinstance(info, mi.NamedTupleType) or getattr(info, "array_like", False)
            names = ", ".join(field.encode_name for field in info.fields)
            return f"list of ({names})" if array else f"object with {names or 'no fields'}"
    return _WORDS.get(type(info), "a value of the declared type")


def _describe_number(info: mi.IntType | mi.FloatType) -> str:
    bounds = ((">", info.gt), (">=", info.ge), ("<", info.lt), ("<=", info.le))
    limits = [f"{sign} {bound!r}" for sign, bound in bounds if bound is not None]
    if info.multiple_of is not None:
        limits.append(f"a multiple of {info.multiple_of!r}")
    word = "int" if isinstance(info, mi.IntType) else "float"
    return f"{word} {' and '.join(limits)}" if limits else word


def _describe_length(info: mi.StrType | mi.CollectionType | mi.DictType) -> str:
    match info.min_length, info.max_length:
        case None, None:
            return ""
        case least, None:
            return f" of length >= {least}"
        case None, most:
            return f" of length <= {most}"
        case least, most:
            return f" of length {least} to {most}"
    raise AssertionError


def _describe_choices(values: Sequence[object]) -> str:
    shown = ["null" if value is None else repr(value) for value in values[:_MOST_CHOICES]]
    if len(values) > _MOST_CHOICES:
        shown.append(f"{len(values) - _MOST_CHOICES} more")
    return "one of " + ", ".join(shown)


def value_schema(declared: Any, extra: Mapping[str, Any]) -> str:
    """The JSON Schema, as text, of one value of this type."""
    (schema,), defs = _generate([declared])
    reference = schema.pop("$ref", None)
    if reference is not None:
        # Forms then find what they need at the top.
        schema = {**defs[reference.rpartition("/")[2]], **schema}
    return _text({**schema, **extra}, defs)


def arguments_schema(
    declared: Mapping[str, Any],
    required: Sequence[str],
    defaults: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> str:
    """The JSON Schema, as text, of an object with one property for each parameter."""
    schemas, defs = _generate(list(declared.values()))
    properties = dict(zip(declared, schemas, strict=True))
    for name, default in defaults.items():
        properties[name] = {**properties[name], "default": default}
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return _text({**schema, **extra}, defs)


def _generate(declared: Sequence[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    schemas, defs = msgspec.json.schema_components(declared)
    for info in mi.multi_type_info(declared):
        for part in _walk(info, set()):
            if isinstance(part, mi.EnumType):
                _name_choices(part.cls, defs)
    choices = {name: schema for name, schema in defs.items() if "enum" in schema}
    others = {name: _close(defs[name], choices) for name in defs if name not in choices}
    return [_close(schema, choices) for schema in schemas], others


def _name_choices(cls: type[enum.Enum], defs: dict[str, Any]) -> None:
    names = {member.value: member.name for member in cls}
    for title in (cls.__name__, f"{cls.__module__}.{cls.__qualname__}"):
        schema = defs.get(re.sub(r"[^a-zA-Z0-9.\-_]", "_", title), {})
        if set(schema.get("enum", ())) == set(names):
            schema["x-enum-names"] = [names[value] for value in schema["enum"]]


def _close(node: Any, choices: Mapping[str, Any]) -> Any:
    """The schema with unknown fields refused, enums in place, and no number that JSON lacks."""
    if isinstance(node, list):
        return [_close(item, choices) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {
        key: value if key in _DATA else _close(value, choices)
        for key, value in node.items()
        if not (isinstance(value, float) and not math.isfinite(value))
    }
    reference = closed.get("$ref")
    if isinstance(reference, str) and reference.rpartition("/")[2] in choices:
        del closed["$ref"]
        closed = {**choices[reference.rpartition("/")[2]], **closed}
    if closed.get("type") == "object" and "properties" in closed:
        closed["additionalProperties"] = False
    if closed.get("type") == "array" and "prefixItems" in closed:
        closed["maxItems"] = len(closed["prefixItems"])
    return closed


def _text(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    used = {
        name: definition
        for name, definition in defs.items()
        if f'"#/$defs/{name}"' in msgspec.json.encode([schema, defs]).decode()
    }
    if used:
        schema = {**schema, "$defs": used}
    return msgspec.json.encode(schema).decode()

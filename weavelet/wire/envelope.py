"""Messages to the bytes that cross the bus, and back. Pure.

A struct's fields and those of the protobuf message of its name are called the same, so that both
directions follow from one table, made at import.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast, get_args

import msgspec
from google.protobuf.message import DecodeError, EncodeError
from google.protobuf.message import Message as Protobuf

from weavelet import messages
from weavelet.exceptions import MalformedError
from weavelet.wire import weavelet_pb2 as pb
from weavelet.wire.values import get_column, get_map, get_value, put_column, put_map, put_value

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_Put = Callable[[Any, Any], None]
_Get = Callable[[Any], Any]


class _Field(NamedTuple):
    name: str
    put: _Put
    get: _Get


def encode(message: messages.Message) -> bytes:
    """The bytes of a message.

    Raises:
        MalformedError: it holds what cannot travel, such as an integer of more than 64 bits.
    """
    kind = _ENVELOPE_KINDS.get(type(message))
    if kind is None:
        raise MalformedError("message", f"{type(message).__name__} does not travel by itself")
    envelope = pb.Envelope()
    try:
        _put(getattr(envelope, kind), message)
        return envelope.SerializeToString()
    except (ValueError, TypeError, EncodeError, RecursionError) as error:
        raise MalformedError(kind, str(error)) from error


def decode(data: bytes) -> messages.Message:
    """The message in `data`.

    Fields that this version does not know are left out; a state or an outcome that it does not know
    reads as `unknown`. Names are not checked to be slugs.

    Raises:
        MalformedError: this is not an envelope, or its message is of a kind not known here.
    """
    try:
        envelope = pb.Envelope.FromString(data)
        kind = envelope.WhichOneof("message")
        if kind is None:
            raise MalformedError("envelope", "it holds no message of a known kind")
        message = _get(_ENVELOPE_STRUCTS[kind], getattr(envelope, kind))
        return cast("messages.Message", message)
    except (DecodeError, ValueError, TypeError, RecursionError) as error:
        raise MalformedError("envelope", str(error)) from error


def _put(target: Protobuf, struct: msgspec.Struct) -> None:
    # An empty submessage must be present all the same: its presence is what it says.
    target.SetInParent()
    for name, put, _ in _FIELDS[type(struct)]:
        value = getattr(struct, name)
        if value is not None:
            put(target, value)


def _get(struct: type[_Struct], source: Protobuf) -> _Struct:
    return struct(**{name: get(source) for name, _, get in _FIELDS[struct]})


def _field(field: Any) -> _Field:
    if field.message_type is not None:
        return _message_field(field, field.message_type.name)
    if field.enum_type is not None:
        return _enum_field(field)
    name = field.name
    if field.is_repeated:

        def put_all(target: Any, value: Any) -> None:
            getattr(target, name).extend(value)

        return _Field(name, put_all, lambda source: tuple(getattr(source, name)))

    def put(target: Any, value: Any) -> None:
        setattr(target, name, value)

    if field.has_presence:
        return _Field(
            name, put, lambda source: getattr(source, name) if source.HasField(name) else None
        )
    return _Field(name, put, lambda source: getattr(source, name))


def _message_field(field: Any, kind: str) -> _Field:
    name = field.name
    if kind == "Value":
        return _Field(
            name,
            lambda target, value: put_value(getattr(target, name), value),
            lambda source: get_value(getattr(source, name)),
        )
    if field.message_type.GetOptions().map_entry:
        return _map_field(name, field.message_type.fields_by_name["value"].message_type is not None)
    struct = getattr(messages, kind)
    if not field.is_repeated:

        def get(source: Any) -> Any:
            if not source.HasField(name):
                raise MalformedError(field.containing_type.name.lower(), f"{name} is missing")
            return _get(struct, getattr(source, name))

        return _Field(name, lambda target, value: _put(getattr(target, name), value), get)

    def put_all(target: Any, value: Any) -> None:
        for item in value:
            _put(getattr(target, name).add(), item)

    return _Field(
        name,
        put_all,
        lambda source: tuple(_get(struct, i) for i in getattr(source, name) if _is_known(i)),
    )


def _map_field(name: str, of_values: bool) -> _Field:
    if not of_values:
        return _Field(
            name,
            lambda target, value: getattr(target, name).update(value),
            lambda source: dict(sorted(getattr(source, name).items())),
        )

    def put(target: Any, value: Any) -> None:
        put_map(getattr(target, name), value)

    return _Field(
        name,
        put,
        lambda source: get_map(getattr(source, name)),
    )


def _enum_field(field: Any) -> _Field:
    # REPLICA_STATE_IN_SECTION is "in-section" in the struct.
    prefix = len(re.sub(r"(?<!^)(?=[A-Z])", "_", field.enum_type.name)) + 1
    words = {v.number: v.name[prefix:].lower().replace("_", "-") for v in field.enum_type.values}
    numbers = {word: number for number, word in words.items() if number}
    words[0] = "unknown"
    name = field.name

    def put(target: Any, value: Any) -> None:
        number = numbers.get(value)
        if number is None:
            msg = f"{name} must be one of {', '.join(numbers)}, but got {value!r}"
            raise ValueError(msg)
        setattr(target, name, number)

    return _Field(name, put, lambda source: words.get(getattr(source, name), "unknown"))


def _is_known(item: Any) -> bool:
    # A control or a device of a kind that this version does not know must not cost the whole.
    match item:
        case pb.ControlSpec():
            return item.kind in pb.ControlKind.values()[1:]
        case pb.Device():
            return item.kind in pb.DeviceKind.values()[1:]
    return True


def _put_body(target: Any, value: Any) -> None:
    _put(getattr(target, type(value).__name__.lower()), value)


def _get_body(source: Any) -> Any:
    kind = source.WhichOneof("body")
    if kind is None:
        raise MalformedError("entry", "it holds no body of a known kind")
    return _get(getattr(messages, kind.capitalize()), getattr(source, kind))


def _put_values(target: Any, value: Any) -> None:
    put_map(target.values, value)
    target.order.extend(value)


def _get_values(source: Any) -> Any:
    values = get_map(source.values)
    return {name: values[name] for name in (*source.order, *values) if name in values}


def _put_columns(target: Any, value: Any) -> None:
    for name, items in value.items():
        if len(items) != len(target.steps):
            msg = f"expected {len(target.steps)} samples of {name!r}, got {len(items)}"
            raise ValueError(msg)
        put_column(target.columns.add(), name, items)


def _get_columns(source: Any) -> Any:
    columns = {
        column.name: get_column(column) for column in source.columns if column.WhichOneof("kind")
    }
    lengths = {len(source.steps), len(source.at), *map(len, columns.values())}
    if len(lengths) > 1:
        raise MalformedError("report", f"columns of unequal length: {sorted(lengths)}")
    return columns


def _fields(struct: type[msgspec.Struct]) -> list[_Field]:
    by_name = getattr(pb, struct.__name__).DESCRIPTOR.fields_by_name
    return [
        _SPECIAL[name] if name in _SPECIAL else _field(by_name[name])
        for name in struct.__struct_fields__
    ]


_SPECIAL = {
    "body": _Field("body", _put_body, _get_body),
    "values": _Field("values", _put_values, _get_values),
    "columns": _Field("columns", _put_columns, _get_columns),
}
_ENVELOPE_STRUCTS: dict[str, Any] = {
    field.name: getattr(messages, cast("Any", field.message_type).name)
    for field in pb.Envelope.DESCRIPTOR.fields
}
_ENVELOPE_KINDS = {struct: kind for kind, struct in _ENVELOPE_STRUCTS.items()}
_FIELDS: dict[type[msgspec.Struct], list[_Field]] = {
    struct: _fields(struct)
    for struct in (
        *_ENVELOPE_KINDS,
        *get_args(messages.Body),
        messages.Change,
        messages.ControlSpec,
        messages.Device,
        messages.Identity,
    )
}

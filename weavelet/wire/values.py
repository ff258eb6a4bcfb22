"""Values to protobuf and back: None, bool, int (64 bit), float, str, list, dict. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence

from weavelet.exceptions import MalformedError
from weavelet.messages import Scalar, Value
from weavelet.wire import weavelet_pb2 as pb

MAX_DEPTH = 24
"""Lists and maps in one another. Protobuf parsers give up at 100 messages, a map level is three."""

_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def put_value(target: pb.Value, value: Value, depth: int = 0) -> None:
    """Write `value` into `target`.

    Raises:
        MalformedError: it holds what a value cannot be.
    """
    if depth > MAX_DEPTH:
        raise MalformedError("value", f"lists and maps are nested more than {MAX_DEPTH} deep")
    if value is None:
        target.null = True
    elif isinstance(value, bool):
        target.boolean = value
    elif isinstance(value, int):
        if not _SMALLEST <= value <= _LARGEST:
            raise MalformedError("value", f"expected an integer of 64 bits, got {value!r}")
        target.integer = value
    elif isinstance(value, float):
        target.number = value
    elif isinstance(value, str):
        target.text = value
    elif isinstance(value, (list, tuple)):
        target.list.SetInParent()
        for item in value:
            put_value(target.list.items.add(), item, depth + 1)
    elif isinstance(value, dict):
        target.map.SetInParent()
        put_map(target.map.items, value, depth + 1)
    else:
        kind = type(value).__name__
        reason = f"expected None, bool, int, float, str, list or dict, got {kind} {value!r}"
        raise MalformedError("value", reason)


def get_value(source: pb.Value) -> Value:
    """Read a value. One of a kind that this version does not know reads as None."""
    kind = source.WhichOneof("kind")
    if kind is None or kind == "null":
        return None
    if kind == "list":
        return [get_value(item) for item in source.list.items]
    if kind == "map":
        return get_map(source.map.items)
    return getattr(source, kind)


def put_map(
    target: MutableMapping[str, pb.Value], values: dict[str, Value], depth: int = 0
) -> None:
    """Write a map of values. Raises MalformedError as `put_value` does."""
    for key, item in values.items():
        if not isinstance(key, str):
            raise MalformedError("value", f"expected str as a key, got {key!r}")
        put_value(target[key], item, depth)


def get_map(source: Mapping[str, pb.Value]) -> dict[str, Value]:
    """Read a map of values, in order of its keys: protobuf keeps none, and readers must agree."""
    return {key: get_value(source[key]) for key in sorted(source)}


def put_column(target: pb.Column, name: str, items: Sequence[Scalar | None]) -> None:
    """Write a metric's samples: packed doubles where all are floats, else one value each."""
    target.name = name
    if all(type(item) is float for item in items):
        target.numbers.items.extend(items)  # type: ignore[arg-type]  # all are float here
        target.numbers.SetInParent()
        return
    target.values.SetInParent()
    for item in items:
        put_value(target.values.items.add(), item)


def get_column(source: pb.Column) -> tuple[Scalar | None, ...]:
    """Read a metric's samples.

    Raises:
        MalformedError: a sample is a list or a map.
    """
    if source.HasField("numbers"):
        return tuple(source.numbers.items)
    return tuple(_scalars(source.name, source.values.items))


def _scalars(name: str, items: Iterable[pb.Value]) -> Iterable[Scalar | None]:
    for item in items:
        value = get_value(item)
        if isinstance(value, (list, dict)):
            raise MalformedError("report", f"a sample of {name!r} is a {type(value).__name__}")
        yield value

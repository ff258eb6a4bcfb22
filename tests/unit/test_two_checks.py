"""The weaver's early check beside the trainer's, which decides."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypedDict, Union

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from weavelet.client.expectation import admits, violation
from weavelet.controls import Registry
from weavelet.exceptions import CommandError
from weavelet.values import Shape, encode
from weavelet.weaver.schemas import checked


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Point:
    x: float
    y: Annotated[int, Meta(ge=0)] = 0
    tags: list[str] = field(default_factory=list)


class Warmup(msgspec.Struct, tag="warmup"):
    steps: int
    name: str = ""


class Cosine(msgspec.Struct, tag="cosine"):
    steps: float
    name: float = 0.0


class Both(TypedDict, total=False):
    a: int
    b: bool | None


TYPES = [
    int,
    float,
    bool,
    str,
    Annotated[float, Meta(gt=0, le=1)],
    Annotated[float, Meta(multiple_of=0.5)],
    Annotated[int, Meta(ge=-1, lt=3)],
    Annotated[int, Meta(multiple_of=2)],
    Annotated[str, Meta(min_length=1, max_length=2)],
    Annotated[str, Meta(pattern="^a")],
    Literal[1, 2],
    Literal["a", "1"] | None,
    Colour,
    Level,
    float | None,
    Annotated[int, Meta(ge=0)] | None,
    Union[int, str],
    Union[int, float, bool],
    list[float],
    Annotated[list[int], Meta(max_length=2)],
    set[int],
    tuple[int, str],
    tuple[bool, ...],
    dict[str, float],
    dict[str, list[int]],
    Point,
    Warmup,
    Union[Warmup, Cosine],
    list[Union[Warmup, Cosine]],
    Both,
    list[Point] | None,
]

TEXTS = st.sampled_from(
    ["1", "1.0", "2", "0", "-1", "0.5", "1e3", "true", "False", "null", "NaN", "-Infinity", "inf",
     "a", "ab", "red", "LOW", "warmup", "cosine", "", " 1", "1_0", "0x1"]
)  # fmt: skip
NUMBERS = (
    st.integers(-2, 4)
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, -1.0, 1e300, math.inf, -math.inf, math.nan])
)
KEYS = st.sampled_from(["x", "y", "tags", "type", "steps", "name", "a", "b", "other"])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=6,
)


def verdict(declared, value):
    """What the trainer makes of a value, as plain data; None if it refuses it."""
    try:
        return msgspec.msgpack.encode(encode(Shape(declared).decode(value)))
    except ValueError:
        return None


@pytest.mark.parametrize("declared", TYPES, ids=str)
@settings(max_examples=40)
@given(value=VALUES)
def test_what_the_weaver_refuses_the_trainer_refuses_too(declared, value):
    """No command that a trainer would carry out is held up; what goes on means the same there."""
    try:
        passed = checked("it", value, schema_of(declared))
    except CommandError:
        assert verdict(declared, value) is None
    else:
        assert verdict(declared, passed) == verdict(declared, value)


@pytest.mark.parametrize("declared", [each for each in TYPES if each is not set[int]], ids=str)
@settings(max_examples=15, deadline=None)
@given(value=VALUES)
def test_what_the_client_offers_without_text_the_weaver_takes(declared, value):
    """A client that looks at the schema first never sends what the weaver then refuses."""
    schema = schema_of(declared)
    if admits(msgspec.json.decode(schema), value):
        checked("it", value, schema)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_multiple_of_anything(value):
    """What is not finite is no multiple, and the client says so instead of failing at it."""
    schema = msgspec.json.decode(schema_of(Annotated[float, Meta(multiple_of=0.5)]))
    assert not admits(schema, value)
    assert violation("it", schema, value) == f"it: expected a number a multiple of 0.5, got {value}"


def schema_of(declared):
    """The schema with which a control of this type is registered."""
    registry = Registry()

    @registry.handler("it", type=declared)
    def set_it(value):
        pass

    return registry.specs()[0].schema


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (Annotated[float, Meta(gt=0, le=1)], 1.5),
        (Annotated[float, Meta(gt=0, le=1)], math.nan),
        (Annotated[float, Meta(gt=0, le=1)], "NaN"),
        (Annotated[float, Meta(multiple_of=0.5)], math.inf),
        (Annotated[float, Meta(gt=0, le=1)], "banana"),
        (Annotated[float, Meta(gt=0, le=1)], True),
        (Annotated[int, Meta(ge=1)], "0"),
        (Colour, "green"),
        (Point, {"y": 1}),
        (Point, {"x": 1, "z": 1}),
        (Annotated[str, Meta(max_length=5)], "a" * (1 << 20)),
        (list[int], [1, "x"]),
    ],
)
def test_bad_input_is_refused_by_both(declared, value):
    """Bounds, NaN, text, enums, missing and extra fields, a megabyte: refused early, in short."""
    with pytest.raises(CommandError) as early:
        checked("it", value, schema_of(declared))
    assert early.value.code == "invalid_value"
    assert len(early.value.text) < 1000
    assert verdict(declared, value) is None

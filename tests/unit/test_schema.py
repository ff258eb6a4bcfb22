"""JSON Schemas: what they carry, and that they say what the registry does.

Where the two differ, and are meant to: the registry reads text by msgspec's lax rules ("1" for a
number, 1 for a bool) and seconds for a duration, drops doubles from sets, checks formats such as
dates, and refuses integers beyond 64 bits, NaN where there are bounds, and 1.0 where an enum has 1.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import Meta

from weavelet.controls import Registry
from weavelet.schema import describe


class Colour(enum.Enum):
    """In the order of their values the names are not sorted."""

    RED = "c"
    GREEN = "a"


class Level(enum.IntEnum):
    """Numbers with names."""

    LOW = 1
    HIGH = 3


@dataclasses.dataclass
class Point:
    """A place."""

    x: int
    y: float = 0.0


class Tree(msgspec.Struct):
    """Holds its own kind."""

    colour: Colour
    left: Tree | None = None


class Circle(msgspec.Struct, tag=True):
    """One of two."""

    radius: float


class Square(msgspec.Struct, tag=True):
    """The other of two."""

    side: Annotated[int, Meta(gt=0)]


class Pair(msgspec.Struct, array_like=True):
    """Two in a list."""

    a: int
    b: bool = False


class Place(NamedTuple):
    """Two in a list as well."""

    a: int
    b: int = 0


class Options(TypedDict, total=False):
    """Some of these."""

    depth: int
    colour: Colour


def registry_of(declared, **options):
    """A registry with one control of the type, named x."""
    registry = Registry()
    registry.handler("x", type=declared, **options)(lambda value: None)
    return registry


def schema_of(declared, **options):
    """The JSON Schema of the type as it goes out."""
    return json.loads(registry_of(declared, **options).specs()[0].schema)


def test_enums_come_with_their_names():
    """A form shows names for the values, in the same order, wherever the enum stands."""
    named = {"enum": ["a", "c"], "x-enum-names": ["GREEN", "RED"]}
    assert schema_of(Colour).items() >= named.items()
    assert schema_of(list[Colour])["items"].items() >= named.items()
    assert schema_of(Options)["properties"]["colour"].items() >= named.items()
    assert schema_of(Level)["x-enum-names"] == ["LOW", "HIGH"]


def test_enums_of_one_name_are_told_apart():
    """Two enums of the same name keep their own values and names."""
    other = enum.Enum("Colour", {"BLUE": "b"}, module="elsewhere")
    properties = schema_of(dict[Literal["k"], Colour] | list[other])["anyOf"]
    names = [list(option.values())[-1]["x-enum-names"] for option in properties]
    assert names == [["GREEN", "RED"], ["BLUE"]]


def test_unknown_fields_are_refused_at_every_depth():
    """Objects are closed, those inside of others too."""
    schema = schema_of(dict[str, Point])
    (point,) = schema["$defs"].values()
    assert point["additionalProperties"] is False
    assert schema_of(Point)["additionalProperties"] is False
    assert schema_of(Pair)["maxItems"] == 2


def test_what_stands_at_the_top_needs_no_reference():
    """A form finds type and properties at the top, and unused definitions are gone."""
    assert schema_of(Point)["properties"].keys() == {"x", "y"}
    assert "$defs" not in schema_of(Point)
    tree = schema_of(Tree)
    assert tree["properties"]["left"]["anyOf"][0] == {"$ref": "#/$defs/Tree"}
    assert tree["$defs"].keys() == {"Tree"}


def test_words_of_the_annotation_reach_the_schema():
    """Title, examples and extra keys of Meta are kept; the control's doc is its description."""
    declared = Annotated[float, Meta(title="Rate", examples=[0.1], extra_json_schema={"x-log": 1})]
    assert schema_of(declared, doc="How fast.") == {
        "type": "number",
        "title": "Rate",
        "examples": [0.1],
        "x-log": 1,
        "description": "How fast.",
    }


def test_infinite_defaults_are_left_out():
    """JSON has no infinity, and null would be another default."""

    @dataclasses.dataclass
    class Limits:
        most: float = float("inf")

    assert schema_of(Limits)["properties"] == {"most": {"type": "number"}}


def test_actions_describe_their_arguments():
    """An action's schema is a closed object with one property a parameter, defaults included."""
    registry = Registry()

    @registry.action(danger=True, scope=globals())
    def save(path: str, point: Point, colour: Colour = Colour.RED, odd: Any = print):
        """Save it."""

    schema = json.loads(registry.specs()[0].schema)
    Draft202012Validator.check_schema(schema)
    assert schema["properties"]["path"] == {"type": "string"}
    assert schema["properties"]["colour"]["default"] == "c"
    assert schema["properties"]["odd"] == {}
    assert schema["required"] == ["path", "point"]
    assert schema["additionalProperties"] is False
    assert (schema["description"], schema["x-danger"]) == ("Save it.", True)
    valid = Draft202012Validator(schema).is_valid
    assert valid({"path": "a", "point": {"x": 1}})
    assert not valid({"path": "a", "point": {"x": 1, "z": 1}})
    assert not valid({"path": "a", "point": {"x": 1}, "other": 1})


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (Annotated[int, Meta(ge=1, multiple_of=2)], "int >= 1 and a multiple of 2"),
        (Annotated[str, Meta(min_length=1, pattern="^a")], "str of length >= 1 matching '^a'"),
        (Annotated[list[int], Meta(min_length=1, max_length=3)], "list of int of length 1 to 3"),
        (dict[str, bool], "object of bool"),
        (Colour, "one of 'c', 'a'"),
        (Literal["a", 1], "one of 1, 'a'"),
        (Point, "object with x, y"),
        (Pair, "list of (a, b)"),
        (Place | None, "list of (a, b) or null"),
        (Any, "any value"),
        (Literal[tuple(range(30))], "one of " + ", ".join(map(str, range(20))) + ", 10 more"),
    ],
)
def test_types_are_described_in_words(declared, words):
    """What follows "expected" reads as an engineer would say it."""
    assert describe(msgspec.inspect.type_info(declared)) == words


TYPES = [
    bool,
    int,
    float,
    str,
    int | None,
    int | str,
    float | bool,
    Any,
    Annotated[int, Meta(ge=-2, lt=3)],
    Annotated[float, Meta(gt=0, le=1)],
    Annotated[int, Meta(multiple_of=3)],
    Annotated[str, Meta(min_length=1, max_length=2)],
    Annotated[str, Meta(pattern="^a")],
    Literal["a", "b", 1],
    Colour,
    Level,
    list[int],
    Annotated[list[float], Meta(max_length=2)],
    tuple[int, str],
    tuple[bool, ...],
    dict[str, int],
    dict[str, list[Point]],
    Point,
    Tree,
    Circle | Square,
    Circle | Square | list[int] | None,
    Pair,
    Place,
    Options,
    Options | int,
]

words = st.sampled_from(["a", "b", "c", "ab", "x", "", "abc", "1", "1.5", "true", "null", "NaN"])
numbers = st.one_of(
    st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1), st.sampled_from([0.5, 1.0, -1.5, 1e300])
)
scalars = st.one_of(st.none(), st.booleans(), numbers, words)
keys = st.sampled_from(
    ["x", "y", "colour", "left", "radius", "side", "type", "depth", "a", "b", "z"]
)
tags = st.fixed_dictionaries(
    {"type": st.sampled_from(["Circle", "Square"])},
    optional={"radius": numbers, "side": numbers, "z": numbers},
)
points = st.fixed_dictionaries({"x": numbers}, optional={"y": numbers, "z": scalars})
trees = st.recursive(
    st.fixed_dictionaries({"colour": words}),
    lambda inner: st.fixed_dictionaries({"colour": words}, optional={"left": inner, "z": inner}),
    max_leaves=3,
)
data = st.one_of(
    scalars,
    tags,
    points,
    trees,
    st.lists(numbers, max_size=3),
    st.dictionaries(keys, numbers, max_size=2),
    st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)
        ),
        max_leaves=6,
    ),
)

REGISTRIES = [registry_of(declared) for declared in TYPES]
VALIDATORS = [
    Draft202012Validator(json.loads(registry.specs()[0].schema)) for registry in REGISTRIES
]
which = st.integers(0, len(TYPES) - 1)


def is_integral_float_in(value):
    """Whether 1.0 stands somewhere for 1, which enums tell apart and JSON Schema does not."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(is_integral_float_in, value))
    return isinstance(value, float) and value.is_integer()


@given(which, data)
def test_what_the_schema_allows_the_registry_applies(at, value):
    """A client that checks by the schema is not refused by the trainer."""
    if is_integral_float_in(value):
        return
    if VALIDATORS[at].is_valid(value):
        verdict = REGISTRIES[at].apply({"x": value}, dry_run=True)
        assert verdict.kind == "skipped", verdict.reason


@given(which, data)
@example(TYPES.index(Point), {"x": 1, "z": 2})
@example(TYPES.index(Circle | Square), {"type": "Square", "side": 1, "radius": 1})
def test_what_the_schema_refuses_the_registry_refuses(at, value):
    """What the registry applies is, once text has been read, a value that the schema allows."""
    verdict = REGISTRIES[at].apply({"x": value}, dry_run=True)
    if verdict.kind == "skipped":
        (change,) = verdict.changes
        assert VALIDATORS[at].is_valid(change.new), change
        if VALIDATORS[at].is_valid(value):
            return
        assert has_text_or_flag(value), value


def has_text_or_flag(value):
    """Whether something in there can be read by lax rules: text, or 0 and 1 for a bool."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return any(map(has_text_or_flag, value))
    return isinstance(value, str) or value in {0, 1}


@pytest.mark.parametrize("declared", TYPES, ids=str)
def test_every_schema_is_one(declared):
    """What goes out is a valid JSON Schema."""
    Draft202012Validator.check_schema(schema_of(declared))

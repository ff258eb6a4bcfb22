"""Command line text becomes values by the registered schema, or a short refusal."""

from __future__ import annotations

import math
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict, Union

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weavelet.client import text
from weavelet.exceptions import CommandError

RATE = msgspec.json.schema(Annotated[float, msgspec.Meta(gt=0, le=1)])


class Optimizer(Enum):
    """Two names."""

    SGD = "sgd"
    ADAM = "adam"


class Schedule(TypedDict, total=False):
    """An object with two fields."""

    warmup: int
    shape: Literal["linear", "cosine"]


def value(typed, kind):
    """The value of a control of that type."""
    return text.value("x", typed, msgspec.json.schema(kind))


def refusal(typed, kind):
    """Why the text is no value of that type."""
    with pytest.raises(CommandError) as caught:
        value(typed, kind)
    assert caught.value.code == "invalid_value"
    return caught.value.text


@pytest.mark.parametrize(
    ("kind", "typed", "expected"),
    [
        (float, "0.001", 0.001),
        (float, "3", 3.0),
        (float, "1e-4", 1e-4),
        (float, "-inf", -math.inf),
        (int, "3", 3),
        (int, "1e3", 1000),
        (int, "-7", -7),
        (bool, "true", True),
        (bool, "1", True),
        (bool, "False", False),
        (bool, "yes", True),
        (bool, "Off", False),
        (bool | None, "no", False),
        (Union[bool, int], "on", True),
        (Union[bool, str], "on", "on"),
        (Literal["on", "off"], "on", "on"),
        (str, "007", "007"),
        (str, "true", "true"),
        (str, '"quoted"', '"quoted"'),
        (str, "", ""),
        (float | None, "null", None),
        (float | None, "0.5", 0.5),
        (str | None, "null", None),
        (str | None, "0.5", "0.5"),
        (Union[int, str], "3", 3),
        (Union[int, str], '"3"', "3"),
        (Union[int, str], "three", "three"),
        (Union[bool, int], "1", 1),
        (Union[bool, int], "true", True),
        (Union[int, float], "3", 3),
        (Union[int, float], "3.5", 3.5),
        (list[int], "[1,2]", [1, 2]),
        (tuple[float, float], "[0.9, 0.999]", [0.9, 0.999]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Schedule, '{"warmup": 10}', {"warmup": 10}),
        (Schedule | None, '{"shape": "linear"}', {"shape": "linear"}),
        (Optimizer, "adam", "adam"),
        (Optimizer | None, "sgd", "sgd"),
        (Literal[1, "auto"] | None, "1", 1),
        (Literal[1, "auto"] | None, "auto", "auto"),
        (Literal[1, "auto"] | None, "null", None),
        (Literal["1", 1], "1", "1"),
        (Union[float, Literal["auto"]], "auto", "auto"),
        (Any, "3", 3),
        (Any, "plain", "plain"),
    ],
)
def test_text_becomes_a_value_of_the_type(kind, typed, expected):
    """Each kind of control reads text the way its user means it, with the right Python type."""
    got = value(typed, kind)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("kind", "typed", "problem"),
    [
        (
            Annotated[float, msgspec.Meta(gt=0, le=1)],
            "banana",
            "x: expected a number > 0 and <= 1, got 'banana'",
        ),
        (Annotated[float, msgspec.Meta(gt=0)], "0", "x: expected a number > 0, got '0'"),
        (Annotated[float, msgspec.Meta(gt=0)], "nan", "x: expected a number > 0, got 'nan'"),
        (Annotated[int, msgspec.Meta(multiple_of=8)], "9", "expected an integer a multiple of 8"),
        (int, "3.5", "x: expected an integer, got '3.5'"),
        (int, "1_000", "expected an integer"),
        (int, str(2**63), "expected an integer"),
        (bool, "maybe", "x: expected true or false, got 'maybe'"),
        (int, "yes", "x: expected an integer, got 'yes'"),
        (float | None, "x", "x: expected a number or null, got 'x'"),
        (Optimizer, "lion", "x: expected one of 'adam', 'sgd', got 'lion'"),
        (
            Annotated[str, msgspec.Meta(min_length=2, pattern="^a")],
            "b",
            "expected a string of at least 2 characters matching '^a', got 'b'",
        ),
        (list[int], "1,2", "expected a list of integers, typed as JSON such as [1,2], got '1,2'"),
        (list[int], "[1,true]", "x[1]: expected an integer, got true"),
        (
            Annotated[list[float], msgspec.Meta(max_length=2)],
            "[1,2,3]",
            "x: expected a list of numbers, at most 2 items, got [1,2,3]",
        ),
        (set[int], "[1,1]", "x: expected no item twice, got [1,1]"),
        (Schedule, '{"shape": "odd"}', "x.shape: expected one of 'cosine', 'linear', got 'odd'"),
        (dict[str, int], "7", 'typed as JSON such as {"a":1}'),
    ],
)
def test_unfit_text_is_refused_with_what_was_expected(kind, typed, problem):
    """The refusal names the control, what it takes and what was typed."""
    assert problem in refusal(typed, kind)


@given(st.floats(min_value=1e-300, max_value=1))
def test_every_float_in_bounds_survives_its_text(number):
    """A number as Python prints it is the same number for the control."""
    assert text.value("lr", repr(number), RATE) == number


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_integer_of_64_bits_survives_its_text(number):
    """An integer is exact, however large."""
    got = value(str(number), int)
    assert got == number
    assert type(got) is int


@given(st.text())
def test_a_string_control_takes_the_text_as_typed(typed):
    """No spelling of a string is taken for anything else."""
    assert value(typed, str) == typed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=4))
def test_lists_are_read_as_json(items):
    """Any JSON list is taken whole by a control of a list."""
    assert value(msgspec.json.encode(items).decode(), list) == items


@given(
    st.text(),
    st.sampled_from(
        [float, int, bool, int | None, Union[int, str], list[int], Schedule, Optimizer, Any]
    ),
)
def test_a_value_that_is_read_is_one_the_control_takes(typed, kind):
    """Whatever is typed, what comes out fits the type; nothing but a CommandError comes instead."""
    try:
        got = value(typed, kind)
    except CommandError as error:
        problem = error.text
    else:
        msgspec.convert(got, kind)
        return
    assert problem.startswith("x: expected")


def test_assignments_divide_at_the_first_equals_sign():
    """A value may hold an equals sign, or nothing."""
    assert text.assignments(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


@pytest.mark.parametrize("pairs", [["lr"], ["=1"], ["lr=1", "lr=2"]])
def test_malformed_assignments_are_a_usage_error(pairs):
    """What is no name=value, or names one twice, ends with exit code 2."""
    with pytest.raises(CommandError) as caught:
        text.assignments(pairs)
    assert caught.value.exit_code == 2
    with pytest.raises(CommandError, match=r"^--expect: "):
        text.assignments(pairs, option="--expect")


def test_unknown_control_names_the_known_ones_and_the_nearest():
    """A mistyped name is answered with what was probably meant."""
    with pytest.raises(CommandError, match="Did you mean 'momentum'") as caught:
        text.control_values({"momentun": "0.9"}, {"lr": RATE, "momentum": RATE})
    assert caught.value.code == "unknown_control"
    assert caught.value.known == ("lr", "momentum")


ACTION = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "keep": {"$ref": "#/$defs/Keep"}},
    "required": ["path"],
    "additionalProperties": False,
    "$defs": {"Keep": {"type": "integer", "minimum": 1}},
}


def test_arguments_are_read_by_the_actions_schema():
    """Each argument has its own type, through references too."""
    got = text.arguments("save", {"path": "7", "keep": "7"}, ACTION)
    assert got == {"path": "7", "keep": 7}


@pytest.mark.parametrize(
    ("given_texts", "problem"),
    [
        ({}, "save needs path=…: a string"),
        ({"path": "a", "keep": "0"}, "keep: expected an integer >= 1, got '0'"),
        ({"path": "a", "kept": "1"}, "There is no argument 'kept'. Did you mean 'keep'?"),
    ],
)
def test_unfit_arguments_are_refused(given_texts, problem):
    """A missing, an unfit and an unknown argument are each named."""
    with pytest.raises(CommandError) as caught:
        text.arguments("save", given_texts, ACTION)
    assert problem in caught.value.text


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("250ms", 0.25), ("1d", 86400)],
)
def test_durations(typed, expected):
    """Durations carry their unit; a bare number is in seconds."""
    assert text.seconds("--for", typed) == expected


@pytest.mark.parametrize("typed", ["", "ten", "-5s", "0", "5 parsecs", "5mm"])
def test_unreadable_durations_are_a_usage_error(typed):
    """What is no duration ends with exit code 2 and an example."""
    with pytest.raises(CommandError, match="such as 90s, 10m or 2h") as caught:
        text.seconds("--for", typed)
    assert caught.value.exit_code == 2


def test_a_schema_that_cannot_be_used_refuses_nothing():
    """The trainer has the last word where a schema is malformed or refers to elsewhere."""
    assert text.value("x", "5", {"type": "integer", "minimum": "one"}) == 5
    assert text.value("x", "5", {"$ref": "http://127.0.0.1:1/schema"}) == 5

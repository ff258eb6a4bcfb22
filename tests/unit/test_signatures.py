"""Which functions can be controls and actions, and which type their parameters have."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import operator
import sys
from typing import Annotated, Literal, NamedTuple, TypedDict

import msgspec
import pytest
from msgspec import Meta

from weavelet.controls import Registry


def set_lr(value: Annotated[float, Meta(gt=0)]) -> NotDefinedAnywhere:  # noqa: F821  on purpose
    """A control whose return annotation nobody can resolve."""


class Owner:
    """Something with a method."""

    def set_lr(self, value: float):
        """The method sets something."""


class Settable:
    """Something that can be called."""

    def __call__(self, value: int):
        """Set it."""


def schema_of(function, **options):
    """The JSON Schema of the one control that the function becomes."""
    registry = Registry()
    registry.handler("x", **options)(function)
    return msgspec.json.decode(registry.specs()[0].schema)


def test_annotations_are_resolved_where_the_caller_is():
    """Names local to the caller are found, although annotations are text in this module."""
    bound = Meta(ge=0, le=9)
    choice = Literal["a", "b"]

    def number(value: Annotated[int, bound]):
        pass

    def letter(value: choice):
        pass

    local = schema_of(number, scope=sys._getframe().f_locals)
    assert local == {"type": "integer", "minimum": 0, "maximum": 9}
    assert schema_of(letter, scope=locals()) == {"enum": ["a", "b"]}


def test_only_the_parameter_is_resolved():
    """A return annotation that exists for the type checker alone does no harm."""
    assert schema_of(set_lr) == {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": set_lr.__doc__,
    }


def test_a_given_type_beats_the_annotation():
    """`type=` wins over what is written, and does without anything written."""
    assert schema_of(set_lr, type=int)["type"] == "integer"
    assert schema_of(lambda value: None, type=bool) == {"type": "boolean"}


def test_self_is_not_counted():
    """Bound methods, partial functions and callable objects take one value like any function."""

    def two(group: int, value: float):
        pass

    @contextlib.contextmanager
    def nothing():
        yield

    @functools.wraps(set_lr)
    def wrapped(*args):
        with nothing():
            return set_lr(*args)

    for function in (Owner().set_lr, functools.partial(two, 0), wrapped):
        assert schema_of(function)["type"] == "number"
    assert schema_of(Settable())["type"] == "integer"
    assert schema_of([].append, type=float)["type"] == "number"


async def coroutine(value: float):
    """A coroutine function."""


def generator(value: float):
    """Yield nothing."""
    yield


async def async_generator(value: float):
    """Yield nothing, asynchronously."""
    yield


class Unknown:
    """A class that nobody can decode."""


def no_annotation(value):
    """Say nothing of its type."""


def no_parameter():
    """Take nothing."""


def two_parameters(value: float, other: float):
    """Take too much."""


def with_default(value: float, other: float = 1.0):
    """Take more than the value."""


def any_number(*values: float):
    """Take any number."""


def any_names(**values: float):
    """Take any names."""


def by_name(*, value: float):
    """Take it by name only."""


def undecodable(value: Unknown):
    """Take a class that msgspec does not know."""


def undecodable_inside(value: dict[str, list[Unknown]]):
    """Hide it in a list."""


def unresolved(value: Missing):  # noqa: F821  on purpose
    """Name a type that is not there."""


REFUSED = [
    (no_annotation, "parameter 'value' has no annotation"),
    (no_parameter, "must take the new value and nothing else"),
    (two_parameters, "must take the new value and nothing else"),
    (with_default, "must take the new value and nothing else"),
    (any_number, "must take the new value and nothing else"),
    (any_names, "must take the new value and nothing else"),
    (by_name, "must take the new value and nothing else"),
    (undecodable, "cannot be read from a command"),
    (undecodable_inside, "cannot be read from a command"),
    (unresolved, "the annotation 'Missing' of 'value' cannot be evaluated"),
    (coroutine, "coroutine or generator function"),
    (generator, "coroutine or generator function"),
    (async_generator, "coroutine or generator function"),
    (functools.partial(coroutine), "coroutine or generator function"),
]


@pytest.mark.parametrize(
    ("function", "reason"), REFUSED, ids=lambda value: getattr(value, "__name__", None)
)
def test_what_cannot_be_a_control_is_refused_at_once(function, reason):
    """The error comes at registration, names the function and says what is wrong."""
    registry = Registry()
    with pytest.raises(TypeError, match=reason) as caught:
        registry.handler("x")(function)
    name = getattr(function, "__name__", "coroutine")
    assert str(caught.value).startswith(name)
    assert registry.specs() == ()


def test_a_given_type_does_not_allow_more_parameters():
    """With `type=` the function is still called with the value alone."""
    with pytest.raises(TypeError, match="nothing else"):
        Registry().handler("x", type=float)(two_parameters)


@pytest.mark.parametrize("wrong", [None, 3, "lr", Unknown])
def test_only_functions_can_be_registered(wrong):
    """A value, or a class, is no function."""
    with pytest.raises(TypeError, match="expected a function"):
        Registry().handler("x", type=float)(wrong)


def test_get_must_be_callable():
    """A value in place of `get` is refused with the right spelling, a coroutine function too."""
    with pytest.raises(TypeError, match=r"get must be a function without parameters, got 0\.1"):
        Registry().handler("x", get=0.1)(set_lr)
    with pytest.raises(TypeError, match="coroutine or generator function"):
        Registry().handler("x", get=coroutine)(set_lr)


@pytest.mark.parametrize(
    "declared", [complex, object, Unknown, list[Unknown], msgspec.Raw, "float"]
)
def test_types_without_a_plain_form_are_refused(declared):
    """A type that msgspec cannot decode, or only from its own formats, is refused."""
    with pytest.raises(TypeError, match="cannot be read from a command"):
        Registry().handler("x", type=declared)(lambda value: None)


def test_a_dataclass_that_cannot_be_described_is_refused():
    """A default that has no plain form shows at registration, not when a client asks."""

    @dataclasses.dataclass
    class Odd:
        x: int = operator.attrgetter("x")

    with pytest.raises(TypeError, match="cannot be read from a command"):
        Registry().handler("x", type=Odd)(lambda value: None)


class Point(NamedTuple):
    """Coordinates."""

    x: int
    y: int = 0


class Options(TypedDict, total=False):
    """Some options."""

    depth: int


@pytest.mark.parametrize(
    "declared",
    [
        str,
        int | None,
        list[int],
        dict[str, float],
        set[str],
        tuple[int, ...],
        Literal[1, 2],
        Point,
        Options,
    ],
)
def test_common_types_are_accepted(declared):
    """Whatever msgspec decodes from plain data can be a control."""
    assert schema_of(lambda value: None, type=declared)


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("learning rate", "learning_rate"),
        ("1st", "st"),
        ("", "my_control"),
        ("é", "my_control"),
        ("x" * 65, "x" * 64),
        ("a\n", "a"),
    ],
)
def test_a_bad_name_is_refused_with_a_good_one(name, valid):
    """The error shows a spelling that would be accepted."""
    with pytest.raises(ValueError, match="a valid spelling is") as caught:
        Registry().handler(name)(set_lr)
    assert f"a valid spelling is {valid!r}" in str(caught.value)
    Registry().handler(valid)(set_lr)


def test_the_functions_name_is_the_default():
    """Without a name the function's own is taken; a lambda has none to take."""
    registry = Registry()
    registry.handler()(set_lr)
    registry.handler("optimizer.lr-2_b")(set_lr)
    assert [spec.name for spec in registry.specs()] == ["set_lr", "optimizer.lr-2_b"]
    with pytest.raises(ValueError, match="a valid spelling is"):
        registry.handler(type=float)(lambda value: None)


def test_a_decorator_without_parentheses_is_explained():
    """`@w.handler` needs its parentheses, and says so."""
    with pytest.raises(TypeError, match=r"write `\(\)` after the decorator's name"):
        Registry().handler(set_lr)


def test_registering_returns_the_function_itself():
    """The decorated function stays what it was."""
    registry = Registry()
    assert registry.handler("x")(set_lr) is set_lr
    assert registry.action("y")(no_parameter) is no_parameter


def positional(value: float, /):
    """An action whose argument has no name."""


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (no_annotation, "parameter 'value' has no annotation"),
        (any_number, "cannot be given by name"),
        (any_names, "cannot be given by name"),
        (positional, "cannot be given by name"),
        (undecodable, "cannot be read from a command"),
        (coroutine, "coroutine or generator function"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_an_action_is_refused_at_once(function, reason):
    """An action's parameters are named and annotated, all of them."""
    with pytest.raises(TypeError, match=reason) as caught:
        Registry().action("x")(function)
    assert str(caught.value).startswith(function.__name__)

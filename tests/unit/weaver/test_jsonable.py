from __future__ import annotations

import math

import pytest

from weavelet.weaver.jsonable import fits, from_json
from weavelet.weaver.protocol import to_json


def test_non_finite_floats_become_their_names():
    """A diverged loss is visible as NaN in JSON, at any depth."""
    value = {"loss": math.nan, "grads": (math.inf, [-math.inf, 1.5])}
    assert to_json(value) == {"loss": "NaN", "grads": ["Infinity", ["-Infinity", 1.5]]}


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "number"}, "Infinity", math.inf),
        ({"type": "string"}, "Infinity", "Infinity"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "-Infinity", -math.inf),
        ({"anyOf": [{"type": "number"}, {"type": "string"}]}, "Infinity", "Infinity"),
        ({"type": "array", "items": {"type": "number"}}, [1, "Infinity"], [1, math.inf]),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"x": {"type": "number"}}}}},
            {"x": "Infinity", "y": "Infinity"},
            {"x": math.inf, "y": "Infinity"},
        ),
        (
            {"type": "object", "additionalProperties": {"type": "number"}},
            {"x": "Infinity"},
            {"x": math.inf},
        ),
        ({"prefixItems": [{"type": "number"}, {}]}, ["Infinity", "x"], [math.inf, "x"]),
        ({}, "NaN", "NaN"),
    ],
)
def test_names_become_numbers_where_the_schema_wants_one(schema, value, expected):
    """A text control can be set to "NaN"; a number control gets the number."""
    assert from_json(value, schema) == expected


def test_nan_is_read_back():
    """NaN, which equals nothing, is read back too."""
    assert math.isnan(from_json("NaN", {"type": "number"}))


def test_references_in_a_circle_end():
    """A schema that refers to itself is not followed for ever."""
    circle = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}
    assert from_json("NaN", circle) == "NaN"


def test_integers_beyond_64_bits_are_found():
    """The bus carries 64 bits; more is refused before it gets there."""
    assert fits({"a": [2**63 - 1, -(2**63)]})
    assert not fits({"a": [2**63]})

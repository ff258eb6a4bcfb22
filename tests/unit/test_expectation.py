"""What a schema expects, in the words of the command line."""

from __future__ import annotations

import sys

import pytest

from weavelet.client.expectation import describe, violation

FINITE = {"type": "number", "minimum": 0, "maximum": sys.float_info.max}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1.0}, "a number > 0 and <= 1"),
        (FINITE, "a number >= 0 and finite"),
        ({"anyOf": [FINITE, {"type": "null"}]}, "a number >= 0 and finite or null"),
        ({"type": "array", "items": FINITE}, "a list of numbers >= 0 and finite"),
        ({"type": "integer", "maximum": 4294967295}, "an integer <= 4294967295"),
        ({"type": "integer", "multipleOf": 1234567}, "an integer a multiple of 1234567"),
        ({"type": "number", "minimum": 1e-08}, "a number >= 1e-08"),
    ],
)
def test_bounds_are_told_to_the_last_digit(schema, words):
    """An operator who types the bound that is named is not refused for its rounding."""
    assert describe(schema) == words


def test_an_infinity_is_refused_as_what_it_is():
    """Where only infinities are kept out, no digits of the largest float are shown."""
    assert violation("lr", FINITE, float("inf")) == "lr: expected a number >= 0 and finite, got inf"

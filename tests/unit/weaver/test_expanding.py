from __future__ import annotations

import json

import pytest

from weavelet.exceptions import CommandError
from weavelet.weaver.expanding import is_readable, is_slow
from weavelet.weaver.schemas import checked, parse

INTEGER = {"type": "integer"}
TREE = {
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
        }
    },
}


def doubling(levels):
    """A schema that stands for 2 ** levels alternatives."""
    parts = {
        f"A{level}": {"anyOf": [{"$ref": f"#/$defs/A{level + 1}"}] * 2} for level in range(levels)
    }
    return {"$ref": "#/$defs/A0", "$defs": {**parts, f"A{levels}": INTEGER}}


@pytest.mark.parametrize(
    ("schema", "readable"),
    [
        ({}, True),
        (TREE, True),
        (doubling(4), True),
        (doubling(40), False),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": {"items": {"anyOf": [{"$ref": "#/$defs/A"}]}}}},
            False,
        ),
        ({"properties": {"a": doubling(40)}, "$defs": doubling(40)["$defs"]}, False),
        ({"patternProperties": {"^(a+)+$": {}}}, False),
        ({"$ref": "#/properties/a", "properties": {"a": INTEGER}}, False),
        ({"$id": "elsewhere", "items": INTEGER}, False),
        ({"properties": {"$id": INTEGER}}, True),
        ({"$ref": 5, "$defs": [], "anyOf": 1}, True),
    ],
)
def test_a_schema_is_readable_if_it_stands_for_little(schema, readable):
    """What comes back to itself without a field in between, or doubles often, is not."""
    assert is_readable(schema) is readable


def test_a_schema_that_is_too_much_to_read_is_handed_to_nobody():
    """Whoever reads it, a browser too, gets one that takes anything; the trainer decides."""
    text = json.dumps(doubling(40))
    assert parse(text) == {}
    assert checked("lr", "anything", text) == "anything"


@pytest.mark.parametrize(
    ("pattern", "length", "slow"),
    [
        ("^(adam|sgd)$", 10_000, False),
        ("^[a-z_]+$", 9_000, False),
        (r"^\d+\.\d+\.\d+$", 40, False),
        (r"^[(]a+[)]*$", 40, False),
        ("^(ab)+$", 40, False),
        ("^(?:ab)+$", 40, False),
        ("^(a+)+$", 0, True),
        ("^(a|a)*$", 0, True),
        ("^(a?){30}a{30}$", 0, True),
        ("^a*a*a*a*b$", 10_000, True),
        (r"(?x)(a+) +$", 0, True),
        (r"(?i:a)b", 0, True),
        (r"^\(?a$", 40, False),
        ("a?" * 30 + "a" * 30, 30, True),
        ("(a|a)" * 30 + "b", 30, True),
        ("^(" + "|".join("abcdefghijklmnopqrstuvwxyz") + ")$", 1000, False),
    ],
)
def test_a_pattern_is_slow_if_it_can_be_tried_in_many_ways(pattern, length, slow):
    """A repeated group that holds a choice or a repeat is, as are many of them, and any flag."""
    assert is_slow(pattern, "a" * length) is slow


def test_a_slow_pattern_is_left_to_the_trainer():
    """The value passes here at once; other patterns and bounds are checked as ever."""
    slow = json.dumps({"type": "string", "pattern": "^(a+)+$", "maxLength": 100})
    text = "a" * 60 + "!"
    assert checked("name", text, slow) == text
    with pytest.raises(CommandError):
        checked("name", "a" * 101, slow)
    with pytest.raises(CommandError):
        checked("name", "b", json.dumps({"type": "string", "pattern": "^a+$"}))


@pytest.mark.parametrize("keyword", ["patternProperties", "additionalProperties", "propertyNames"])
def test_a_slow_name_is_left_to_the_trainer(keyword):
    """A pattern for names is weighed with the name that it is to match, wherever it is matched."""
    pattern = "^a*a*a*a*b$"
    schema = {"type": "object", "patternProperties": {pattern: INTEGER}}
    if keyword == "additionalProperties":
        schema["additionalProperties"] = False
    if keyword == "propertyNames":
        schema["propertyNames"] = {"pattern": pattern}
    name = "a" * 2000
    assert checked("table", {name: 1}, json.dumps(schema)) == {name: 1}
    with pytest.raises(CommandError):
        checked("table", {name: 1, "ab": "x"}, json.dumps(schema))

from __future__ import annotations

import json
import math

import jsonschema
import pytest

from weavelet.exceptions import CommandError
from weavelet.weaver import schemas
from weavelet.weaver.schemas import checked, parse


@pytest.mark.parametrize(
    ("schema", "value", "text"),
    [
        (
            '{"type": "number", "exclusiveMinimum": 0, "maximum": 1}',
            "banana",
            "lr: expected a number > 0 and <= 1, got 'banana'",
        ),
        ('{"type": "integer", "minimum": 1}', 0, "lr: expected an integer >= 1, got 0"),
        ('{"type": "integer"}', True, "lr: expected an integer, got True"),
        ('{"enum": ["sgd", "adam"]}', "rms", "lr: expected one of 'sgd', 'adam', got 'rms'"),
        (
            '{"anyOf": [{"type": "number"}, {"type": "null"}]}',
            "x",
            "lr: expected a number or null, got 'x'",
        ),
        (
            '{"type": "array", "items": {"type": "number"}}',
            [1, "x"],
            "lr.1: expected a number, got 'x'",
        ),
        (
            '{"type": "object", "properties": {"a": {}}, "required": ["a"]}',
            {},
            "lr: expected 'a' too, got {}",
        ),
        (
            '{"type": "object", "properties": {"a": {}}, "additionalProperties": false}',
            {"b": 1},
            "lr: expected only 'a', got 'b' too",
        ),
        (
            '{"type": "string", "minLength": 2, "pattern": "^a"}',
            "b",
            None,
        ),
        ('{"type": "number"}', 2**64, f"lr: expected integers of 64 bits, got {2**64}"),
    ],
)
def test_a_refusal_names_the_control_what_was_expected_and_what_was_got(schema, value, text):
    """A typing error is answered in plain words."""
    with pytest.raises(CommandError) as caught:
        checked("lr", value, schema)
    assert caught.value.code == "invalid_value"
    if text is not None:
        assert caught.value.text == text


def test_a_good_value_passes_as_it_goes_into_the_log():
    """Names of non-finite floats are numbers afterwards."""
    assert checked("lr", 0.5, '{"type": "number"}') == 0.5
    assert checked("lr", "Infinity", '{"type": "number"}') == math.inf


def test_a_schema_that_no_reader_could_use_is_not_handed_on():
    """Clients get an empty one for what is no schema, or so deep that it breaks their readers."""
    assert parse('{"type": "object", "properties": 5}') == {}
    assert parse('{"not": ' * 200 + "{}" + "}" * 200) == {}
    nested = '{"not": ' * 20 + "{}" + "}" * 20
    assert parse(nested) == json.loads(nested)


@pytest.mark.parametrize(
    "schema",
    ["", "not json", "[]", '{"type": 5}', '{"$ref": "https://example.invalid/schema.json"}'],
)
def test_a_schema_that_cannot_be_used_leaves_the_decision_to_the_trainer(schema):
    """A bad registration never blocks commands, and no reference is fetched from the network."""
    assert checked("lr", "anything", schema) == "anything"


@pytest.mark.parametrize(
    "schema",
    [
        '{"anyOf": [' + "{}, " * 15_000 + "{}]}",
        '{"anyOf": [' + "true, " * 10_000 + "true]}",
        json.dumps({"title": "x" * 100_000}),
    ],
)
def test_a_schema_that_takes_long_to_check_is_not_checked(schema, monkeypatch):
    """Whoever registers it holds up nobody else, and its trainer decides alone."""
    checks = []
    monkeypatch.setattr(jsonschema.Draft202012Validator, "check_schema", checks.append)
    assert parse(schema) == {}
    assert checked("lr", "anything", schema) == "anything"
    assert checks == []


def test_schemas_are_kept_in_a_bounded_room():
    """One replica that registers another schema every time does not fill the memory."""
    for number in range(200):
        parse(json.dumps({"title": f"{number}" + "x" * 60_000}))
    assert schemas._kept.size <= schemas._KEPT_CHARACTERS

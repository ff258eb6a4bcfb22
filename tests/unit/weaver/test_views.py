"""What clients see of a control."""

from __future__ import annotations

import msgspec
import pytest

from weavelet.messages import ControlSpec
from weavelet.weaver.views import control_view

NUMBER = '{"type": "number"}'
OPTIONAL = '{"anyOf": [{"type": "number"}, {"type": "null"}]}'


@pytest.mark.parametrize(
    ("kind", "schema", "value", "seen"),
    [
        ("control", NUMBER, 0.5, {"value": 0.5}),
        ("control", NUMBER, None, {}),
        ("control", OPTIONAL, None, {"value": None}),
        ("control", '{"enum": ["a", null]}', None, {"value": None}),
        ("action", "{}", None, {}),
    ],
)
def test_null_is_a_value_and_what_cannot_be_read_is_none(kind, schema, value, seen):
    """Of a control that is null clients get null; of one that is not known they get nothing."""
    view = control_view(ControlSpec(name="clip", kind=kind, schema=schema, value=value))
    sent = msgspec.json.decode(msgspec.json.encode(view))
    assert {key: sent[key] for key in sent if key == "value"} == seen
    assert msgspec.convert(sent, type(view)) == view

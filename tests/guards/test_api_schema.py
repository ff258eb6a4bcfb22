"""docs/api.schema.json is the API that protocol.py speaks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from weavelet.weaver import protocol

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "api.schema.json"

ENTRY = protocol.EntryView(
    id="e1", sequence=7, run="train", job="j1", kind="set", author="ann", time=1.5
)
REPLICA = protocol.ReplicaView(
    run="train", job="j1", replica="rank-0", incarnation="a", state="running", metrics={"x": "NaN"}
)
JOB = protocol.JobView(run="train", job="j1", live=True, newest=True, begun=1.0, replicas=[REPLICA])
SAID = (
    protocol.Snapshot(jobs=[JOB], devices=[protocol.DeviceView(id="g", kind="gpu", host="h")]),
    protocol.StatusUpdate(
        replicas=[REPLICA], removed=[("train", "j0")], rules=[protocol.RuleView(name="r", every=1)]
    ),
    protocol.EntryUpdate(entry=ENTRY, state="accepted", settled=False),
    protocol.Error(code="malformed", text="no"),
)
ASKED = (
    {"type": "subscribe", "id": "1", "metrics": True},
    {"type": "update_config", "id": "2", "run": "train", "values": {"lr": 0.1}},
    {"type": "pause", "id": "3", "run": "train", "lease": 10.0, "replicas": ["rank-0"]},
)


def load():
    """The script that writes the file."""
    path = ROOT / "build_backend" / "export_schema.py"
    spec = importlib.util.spec_from_file_location("export_schema", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def checker(side):
    """A validator of one direction, out of the committed file."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{side}", "$defs": schema["$defs"]})


def test_the_committed_schema_is_that_of_the_structs():
    """Whoever changes protocol.py runs `python build_backend/export_schema.py`."""
    assert SCHEMA.read_text("utf-8") == load().text()


def test_what_the_weaver_says_fits():
    """Messages as the weaver encodes them are valid by the committed schema."""
    for message in SAID:
        checker("ServerMessage").validate(json.loads(msgspec.json.encode(message)))


def test_what_a_client_says_fits():
    """Messages as clients write them are valid, and decode."""
    for message in ASKED:
        checker("ClientMessage").validate(message)
        msgspec.convert(message, protocol.ClientMessage)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "subscribe"},
        {"type": "subscribe", "id": 1},
        {"type": "subscribe", "id": "1", "extra": 1},
        {"type": "nothing", "id": "1"},
        {"type": "update_config", "id": "1", "run": "train"},
    ],
)
def test_what_the_weaver_refuses_does_not_fit(message):
    """The schema is as strict as the decoder."""
    assert not checker("ClientMessage").is_valid(message)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(message, protocol.ClientMessage)

"""Messages to bytes and back."""

from __future__ import annotations

import math
import struct
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weavelet import messages
from weavelet.exceptions import MalformedError
from weavelet.messages import (
    Act,
    Begin,
    Change,
    ControlSpec,
    Entry,
    External,
    Heartbeat,
    Identity,
    Outcome,
    Pause,
    Registration,
    ReportBatch,
    Set,
    Settled,
)
from weavelet.wire import weavelet_pb2 as pb
from weavelet.wire.envelope import decode, encode
from weavelet.wire.values import MAX_DEPTH

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1)
TEXT = st.text(max_size=8)
SCALAR = st.booleans() | INT64 | st.floats() | TEXT
VALUE = st.recursive(
    st.none() | SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
VALUES = st.dictionaries(TEXT, VALUE, max_size=3)
FIELDS = {
    bool: st.booleans(),
    int: st.integers(0, 2**31 - 1),
    float: st.floats(),
    str: TEXT,
}


def exact(value):
    """A form that tells True from 1 from 1.0, -0.0 from 0.0, and holds NaN equal to itself."""
    if isinstance(value, msgspec.Struct):
        return type(value), [exact(getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, dict):
        return dict, sorted((key, exact(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value), [exact(item) for item in value]
    if isinstance(value, float):
        return float, "nan" if math.isnan(value) else struct.pack(">d", value).hex()
    return type(value), value


def strategy(annotation):
    if annotation in FIELDS:
        return FIELDS[annotation]
    if annotation is messages.Value:
        return VALUE
    origin, arguments = getattr(annotation, "__origin__", None), get_args(annotation)
    if annotation is messages.Body:
        return st.one_of(*map(record, arguments))
    if origin is dict:
        return VALUES if arguments[1] is messages.Value else st.dictionaries(TEXT, st.floats())
    if origin is tuple:
        return st.lists(strategy(arguments[0]), max_size=3).map(tuple)
    if type(None) in arguments:
        return st.none() | strategy(next(a for a in arguments if a is not type(None)))
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return record(annotation)
    return st.sampled_from(arguments)


def record(kind):
    if kind is ReportBatch:
        return reports()
    hints = msgspec.structs.fields(kind)
    return st.builds(kind, **{field.name: strategy(field.type) for field in hints})


@st.composite
def reports(draw):
    steps = tuple(draw(st.lists(INT64, max_size=4)))
    size = {"min_size": len(steps), "max_size": len(steps)}
    row = st.lists(st.floats(), **size) | st.lists(st.none() | SCALAR, **size)
    return ReportBatch(
        replica="r",
        incarnation="i",
        first=draw(UINT64),
        steps=steps,
        at=tuple(draw(st.lists(st.floats(), **size))),
        columns={name: tuple(row) for name, row in draw(st.dictionaries(TEXT, row)).items()},
    )


@pytest.mark.parametrize("kind", get_args(messages.Message), ids=lambda kind: kind.__name__)
def test_every_message_comes_back_as_it_was(kind):
    """Whatever a message holds, it comes back exactly: types, NaN, infinities and -0.0 too."""

    @given(record(kind))
    def check(message):
        assert exact(decode(encode(message))) == exact(message)

    check()


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 1.0, -0.0, math.nan, math.inf, -math.inf, 2**63 - 1, -(2**63), "", [], {}],
    ids=repr,
)
def test_a_value_keeps_its_type(value):
    """None, bool, int, float and str stay apart, and empty is not absent."""
    sent = Entry(id="e", author="a", body=Set({"x": value, "nested": [{"y": value}]}))
    assert exact(decode(encode(sent))) == exact(sent)


def test_a_set_keeps_its_order():
    """Controls are set in the order in which they were given; who gives none has them sorted."""
    entry = Entry(id="e", author="a", body=Set({"b": 1, "c": 2, "a": 3}))
    assert list(decode(encode(entry)).body.values) == ["b", "c", "a"]
    foreign = pb.Envelope.FromString(encode(entry))
    foreign.entry.set.order[:] = ["c", "gone", "c"]
    assert list(decode(foreign.SerializeToString()).body.values) == ["c", "a", "b"]


def test_a_map_is_read_in_order_of_its_keys():
    """All readers of an entry go through its values in one order, whoever wrote it."""
    entry = Entry(id="e", author="a", body=Act("save", {"b": 1, "c": 2, "a": 3}))
    assert list(decode(encode(entry)).body.arguments) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**63, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        (object(), "got object"),
        (b"bytes", "got bytes"),
        ({1: 2}, "str as a key, got 1"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_what_cannot_travel_is_refused(value, text):
    """A value outside the format is a MalformedError that says what was expected."""
    with pytest.raises(MalformedError, match=text):
        encode(External(source="s", kind="k", detail={"x": [value]}))


def nested(depth):
    value = 1
    for _ in range(depth):
        value = {"x": value}
    return value


def test_the_deepest_value_travels_and_a_deeper_one_is_refused():
    """What is accepted for sending can be read, in the most nested message there is."""
    outcome = Outcome(
        entry="e", sequence=1, replica="r", incarnation="i", kind="applied", result=None
    )
    deep = msgspec.structs.replace(outcome, changes=(Change("x", nested(MAX_DEPTH), None),))
    entry = Entry(id="e", author="a", body=Settled("e", 1, (deep,)))
    assert decode(encode(entry)) == entry
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(MalformedError, match="nested more than"):
            encode(Entry(id="e", author="a", body=Set({"x": nested(depth)})))


def test_bytes_that_nest_too_deep_are_malformed():
    """A foreign sender's bomb of nested lists is refused, not recursed into."""
    data = b""
    for _ in range(10_000):
        inner = data
        data = b"\x0a" + varint(len(inner)) + inner  # ValueList.items
        data = b"\x32" + varint(len(data)) + data  # Value.list
    detail = b"\x0a\x01x\x12" + varint(len(data)) + data
    event = b"\x2a" + varint(len(detail)) + detail
    envelope = b"\x3a" + varint(len(event)) + event
    with pytest.raises(MalformedError):
        decode(envelope)


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes((*out, number))


@given(st.binary(max_size=64))
def test_garbage_is_malformed_or_a_message(data):
    """Whatever the bytes, decoding gives a message or a MalformedError."""
    try:
        message = decode(data)
    except MalformedError:
        return
    assert isinstance(message, get_args(messages.Message))


@given(record(Entry) | record(Registration), st.data())
def test_damaged_messages_are_malformed_or_messages(message, data):
    """A message with some bytes changed decodes to a message or a MalformedError."""
    damaged = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(damaged))
    except MalformedError:
        pass


@pytest.mark.parametrize(
    ("envelope", "text"),
    [
        (pb.Envelope(), "no message of a known kind"),
        (pb.Envelope(entry=pb.Entry(id="e")), "no body of a known kind"),
        (pb.Envelope(registration=pb.Registration()), "identity is missing"),
        (pb.Envelope(report=pb.ReportBatch(steps=[1], at=[])), "unequal length"),
        (
            pb.Envelope(
                report=pb.ReportBatch(
                    steps=[1],
                    at=[1.0],
                    columns=[
                        pb.Column(
                            name="x",
                            values=pb.ValueList(items=[pb.Value(list=pb.ValueList())]),
                        )
                    ],
                )
            ),
            "a sample of 'x' is a list",
        ),
    ],
)
def test_an_incomplete_message_is_malformed(envelope, text):
    """An envelope that lacks what its message needs is a MalformedError that says what."""
    with pytest.raises(MalformedError, match=text):
        decode(envelope.SerializeToString())


def test_what_a_newer_version_sends_is_tolerated():
    """Unknown states and outcomes read as unknown, unknown values as None, the rest is kept."""
    state = pb.Envelope(heartbeat=pb.Heartbeat(replica="r"))
    state.heartbeat.state = 99
    assert decode(state.SerializeToString()).state == "unknown"
    kind = pb.Envelope(outcome=pb.Outcome(entry="e"))
    kind.outcome.kind = 99
    assert decode(kind.SerializeToString()).kind == "unknown"
    field = encode(Heartbeat(replica="r", incarnation="i", state="running"))
    extra = field[:1] + varint(len(field) - 2 + 3) + field[2:] + b"\xf8\x06\x01"
    assert decode(extra) == decode(field)


def test_a_control_of_an_unknown_kind_is_left_out():
    """A registration with a control that this version does not know keeps the others."""
    registration = Registration(
        identity=Identity(run="r", job="j", replica="a", incarnation="i", pid=1, host="h"),
        controls=(
            ControlSpec(name="new", kind="control", schema="{}"),
            ControlSpec(name="lr", kind="control", schema="{}"),
        ),
    )
    envelope = pb.Envelope.FromString(encode(registration))
    envelope.registration.controls[0].kind = 99
    decoded = decode(envelope.SerializeToString())
    assert [control.name for control in decoded.controls] == ["lr"]


def test_numbers_are_packed():
    """A column of floats costs eight bytes a sample; one with an int or a gap keeps its types."""
    steps = tuple(range(1000))
    at = tuple(map(float, steps))
    batch = ReportBatch(
        replica="r", incarnation="i", first=0, steps=steps, at=at, columns={"loss": at}
    )
    assert len(encode(batch)) < 1000 * 20
    mixed = msgspec.structs.replace(batch, columns={"loss": (1, None, *at[2:])})
    assert exact(decode(encode(mixed))) == exact(mixed)


def test_a_report_with_columns_of_unequal_length_is_refused():
    """A column must have a sample for each step."""
    batch = ReportBatch(
        replica="r", incarnation="i", first=0, steps=(1,), at=(1.0,), columns={"x": (1.0, 2.0)}
    )
    with pytest.raises(MalformedError, match="expected 1 samples of 'x', got 2"):
        encode(batch)


def test_only_messages_of_their_own_travel():
    """A body without its entry, and a word that is none, are refused."""
    with pytest.raises(MalformedError, match="Begin does not travel by itself"):
        encode(Begin())
    with pytest.raises(MalformedError, match=r"state must be one of starting, .*got 'asleep'"):
        encode(Heartbeat(replica="r", incarnation="i", state="asleep"))
    with pytest.raises(MalformedError):
        encode(Entry(id="e", author="a", body=Pause(lease="long")))

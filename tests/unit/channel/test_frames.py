"""Frames: cut anywhere, with garbage between them, and at their largest."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weavelet.channel.frames import MAX_FRAME_BYTES, Reader, encode
from weavelet.exceptions import MalformedError
from weavelet.messages import (
    Bye,
    Deliver,
    Entry,
    FromSidecar,
    FromTrainer,
    Kept,
    Position,
    Refused,
    Reports,
    Sample,
    Section,
    Set,
    Started,
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
positions = st.builds(Position, st.text(max_size=8), st.integers(0, 2**40))
entries = st.builds(
    Entry,
    id=st.text(max_size=8),
    author=st.text(max_size=8),
    body=st.builds(Set, st.dictionaries(st.text(max_size=8), values, max_size=3)),
)
messages = st.one_of(
    st.builds(Deliver, entries, positions, st.none() | st.floats(0, 1e9), st.booleans()),
    st.builds(Kept, st.integers(0, 2**40)),
    st.builds(Refused, st.text()),
)
# 0xc1 is the one byte that msgpack never uses.
garbage = st.binary(max_size=40).map(lambda rest: b"\xc1" + rest)


def framed(body):
    """A frame with any body."""
    return len(body).to_bytes(4, "big") + body


@given(
    parts=st.lists(st.tuples(messages, st.none() | garbage), max_size=8),
    cuts=st.lists(st.integers(0, 4000), max_size=12),
)
def test_a_stream_cut_anywhere_gives_the_same_messages(parts, cuts):
    """However the bytes arrive, all messages come in order, and garbage bodies are counted."""
    stream = b"".join(
        encode(message) + (framed(junk) if junk is not None else b"") for message, junk in parts
    )
    reader = Reader(FromSidecar)
    ends = sorted({*(cut for cut in cuts if cut < len(stream)), len(stream)})
    got = []
    start = 0
    for end in ends:
        got += reader.feed(stream[start:end])
        start = end
    assert got == [message for message, _ in parts]
    assert reader.malformed == sum(junk is not None for _, junk in parts)


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_no_bytes_make_the_reader_raise(chunks):
    """Whatever arrives, the reader only counts."""
    reader = Reader(FromTrainer)
    for chunk in chunks:
        reader.feed(chunk)
        reader.feed(framed(chunk))


@pytest.mark.parametrize(
    "message",
    [
        Started("e", 3),
        Section("checkpoint", 9.5),
        Section(None),
        Bye(stopped=True, error="no"),
        Reports(7, (Sample(1, 0.5, {"loss": 1.0, "ok": True, "n": 3, "phase": "warm"}),)),
    ],
)
def test_messages_survive_the_way(message):
    """What the trainer sends is what the sidecar reads, types of scalars included."""
    (got,) = Reader(FromTrainer).feed(encode(message))
    assert got == message
    if isinstance(message, Reports):
        kinds = [type(value) for value in got.samples[0].metrics.values()]
        assert kinds == [float, bool, int, str]


def test_non_finite_numbers_travel_as_themselves():
    """NaN and infinities arrive."""
    metrics = {"nan": math.nan, "up": math.inf, "down": -math.inf}
    (got,) = Reader(FromTrainer).feed(encode(Reports(0, (Sample(0, 0.0, metrics),))))
    assert math.isnan(got.samples[0].metrics["nan"])
    assert got.samples[0].metrics["up"] == math.inf
    assert got.samples[0].metrics["down"] == -math.inf


def test_a_message_of_another_direction_is_malformed():
    """A tag that this direction does not know is counted, and what follows is read."""
    reader = Reader(FromTrainer)
    assert reader.feed(encode(Kept(1)) + encode(Section(None))) == [Section(None)]
    assert reader.malformed == 1


@pytest.mark.parametrize("union", [FromTrainer, FromSidecar])
def test_every_message_has_a_tag_of_its_own(union):
    """All members of a union can be told apart."""
    tags = [member.__struct_config__.tag for member in get_args(union)]
    assert len(tags) == len(set(tags))
    assert None not in tags


def refused(limit):
    """A Refused whose frame's body has exactly `limit` bytes."""
    spare = len(encode(Refused("x" * 70_000))) - 4 - 70_000
    return Refused("x" * (limit - spare))


def test_the_largest_frame_passes_and_one_byte_more_does_not():
    """The cap is exact, and the error says both sizes."""
    largest = refused(MAX_FRAME_BYTES)
    frame = encode(largest)
    assert len(frame) == MAX_FRAME_BYTES + 4
    assert Reader(FromSidecar).feed(frame) == [largest]
    with pytest.raises(MalformedError, match=f"{MAX_FRAME_BYTES + 1} bytes, at most"):
        encode(refused(MAX_FRAME_BYTES + 1))


@given(st.lists(st.integers(1, 400_000), max_size=6))
def test_a_body_over_the_cap_is_skipped_without_keeping_it(cuts):
    """The reader drops a too large body as it comes and reads on behind it."""
    body = b"\x00" * (MAX_FRAME_BYTES + 1)
    stream = encode(Kept(1)) + framed(body) + encode(Kept(2))
    reader = Reader(FromSidecar)
    got = []
    start = 0
    for cut in [*cuts, len(stream)]:
        got += reader.feed(stream[start : start + cut])
        assert len(reader._buffer) < 1000
        start += cut
    assert got == [Kept(1), Kept(2)]
    assert reader.malformed == 1


@pytest.mark.parametrize(
    "value",
    [2**64, -(2**63) - 1, object(), "\udcff", {1: object()}],
    ids=["too large", "too small", "an object", "half a character", "an object inside"],
)
def test_what_cannot_be_encoded_is_refused_at_its_sender(value):
    """A value that msgpack cannot hold raises MalformedError with a reason."""
    with pytest.raises(MalformedError, match=r"malformed frame: .+"):
        encode(Reports(0, (Sample(0, 0.0, {"value": value}),)))


def test_endless_nesting_is_refused_at_its_sender():
    """A list inside itself is an error, not the end of the process."""
    endless = []
    endless.append(endless)
    with pytest.raises(MalformedError):
        encode(Set({"a": endless}))

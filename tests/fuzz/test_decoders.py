"""Every decoder against mutated, random and hostile bytes: it refuses, and nothing else.

Coverage tells nothing here, since msgspec and protobuf are C: the seeds are one valid message of
each kind, and the mutations know the formats.
"""

from __future__ import annotations

import functools
import random
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import mutation, samples
from weavelet.channel import frames
from weavelet.channel.frames import MAX_FRAME_BYTES, Reader
from weavelet.client.nonfinite import restore_message
from weavelet.exceptions import BusError, MalformedError
from weavelet.messages import FromSidecar, FromTrainer
from weavelet.weaver import protocol
from weavelet.weaver.protocol import to_json
from weavelet.wire import envelope, jetstream, streams, subjects

SECONDS = (0.7, 60.0)
ENVELOPES = [envelope.encode(message) for message in samples.ON_THE_BUS]
BODIES = {
    "trainer": [frames.encode(message)[4:] for message in samples.FROM_TRAINER],
    "sidecar": [frames.encode(message)[4:] for message in samples.FROM_SIDECAR],
}
UNIONS = {"trainer": FromTrainer, "sidecar": FromSidecar}
ANSWERS = [
    b'{"type":"io.nats.jetstream.api.v1.pub_ack","stream":"WEAVELET_CONTROL","seq":7}',
    b'{"error":{"code":400,"err_code":10071,"description":"wrong last sequence"}}',
    b'{"config":{"metadata":{"weavelet_epoch":"ab"}},"ts":"2026-01-31T12:00:00.1Z"}',
    b'{"message":{"subject":"a","seq":7,"hdrs":"TkFU","time":"2026-01-31T12:00:00.12345Z"}}',
    b'{"Nats-Subject":"a","Nats-Sequence":"7","Nats-Time-Stamp":"2026-01-31T12:00:00Z"}',
]
TEXTS = [msgspec.json.encode(message) for message in samples.FROM_CLIENT]


class Accidents:
    """Mutations of `seeds` for as long as the test may take; `count` says how many."""

    def __init__(self, sized, seeds, mutate, seed=5):
        self.count = 0
        self._seconds = sized(*SECONDS)
        self._seeds, self._mutate, self._chance = seeds, mutate, random.Random(seed)

    def __iter__(self):
        until = time.monotonic() + self._seconds
        while time.monotonic() < until:
            for _ in range(100):
                self.count += 1
                yield self._next()

    def _next(self):
        chance = self._chance
        data = chance.choice(self._seeds)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            try:
                data = self._mutate(data, chance)
            except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
                # What an earlier mutation has broken as a whole is mutated by byte.
                data = mutation.mutated_bytes(data, chance, self._seeds)
        return data


def test_envelopes(sized, figure):
    """decode() gives a message or MalformedError; what it gives can be encoded again."""
    good = 0
    accidents = Accidents(sized, ENVELOPES, mutation.mutated_protobuf)
    for data in accidents:
        try:
            message = envelope.decode(data)
        except MalformedError:
            continue
        good += 1
        again_refused = None
        try:
            again = envelope.encode(message)
        except MalformedError as error:
            again_refused = error
        if again_refused is None:
            assert same(envelope.decode(again), message)
    figure(f"{accidents.count} mutated envelopes, {good} of them still messages")
    assert 0 < good < accidents.count


def same(one, other):
    """Equality that takes NaN for itself."""
    return msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


@pytest.mark.parametrize("side", ["trainer", "sidecar"])
def test_frames(sized, figure, side):
    """A frame with a broken body is counted, and the one behind it is read."""
    seeds, bad = BODIES[side], 0
    marker = frames.encode(
        samples.FROM_TRAINER[2] if side == "trainer" else samples.FROM_SIDECAR[-2]
    )
    accidents = Accidents(sized, seeds, mutation.mutated_msgpack)
    for body in accidents:
        reader = Reader(UNIONS[side])
        data = len(body).to_bytes(4, "big") + body + marker
        cut = accidents.count % (len(data) + 1)
        read = reader.feed(data[:cut]) + reader.feed(data[cut:])
        bad += reader.malformed
        assert len(read) + reader.malformed == 2
        assert frames.encode(read[-1]) == marker
    figure(f"{accidents.count} mutated frames from the {side}, {bad} of them refused")
    assert 0 < bad < accidents.count


def test_a_stream_of_anything(sized):
    """Lengths that lie, and bytes that are no frames: never an exception, never more than a cap."""
    chance, stream = random.Random(3), bytearray()
    until = time.monotonic() + sized(*SECONDS)
    reader = Reader(FromTrainer)
    while time.monotonic() < until:
        stream = mutation.mutated_bytes(
            b"".join(frames.encode(message) for message in samples.FROM_TRAINER), chance
        )
        reader.feed(stream)
        assert len(reader._buffer) <= MAX_FRAME_BYTES + 4
    assert reader.malformed


def test_websocket_messages(sized, figure):
    """The weaver's decoder gives a request, DecodeError or RecursionError."""
    decode = msgspec.json.Decoder(protocol.ClientMessage).decode
    good = 0
    accidents = Accidents(sized, TEXTS, mutation.mutated_json)
    for data in accidents:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            continue
        try:
            to_json(msgspec.to_builtins(decode(text)))
        except (msgspec.DecodeError, RecursionError):
            continue
        good += 1
    figure(f"{accidents.count} mutated WebSocket messages, {good} of them still requests")
    assert 0 < good < accidents.count


def test_messages_of_the_weaver(sized, figure):
    """The client's decoder likewise, and the floats in what it gives are restored."""
    decode = msgspec.json.Decoder(protocol.ServerMessage).decode
    seeds, good = [msgspec.json.encode(message) for message in samples.FROM_WEAVER], 0
    accidents = Accidents(sized, seeds, mutation.mutated_json)
    for data in accidents:
        try:
            restore_message(decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        good += 1
    figure(f"{accidents.count} mutated messages of the weaver, {good} of them still messages")
    assert 0 < good < accidents.count


def test_answers_of_jetstream(sized):
    """What reads them gives what it says or BusError, also for what no server says."""
    accidents = Accidents(sized, ANSWERS, mutation.mutated_json)
    for data in accidents:
        try:
            answer = jetstream.parse(data)
        except BusError:
            continue
        streams.epoch_of(answer)
        for read in (jetstream.sequence_of, jetstream.time_of, jetstream.stored_from_answer):
            try:
                read(answer)
            except BusError:
                continue
        headers = {key: str(value) for key, value in answer.items()}
        try:
            jetstream.stored_from_headers(headers, data)
        except BusError:
            continue


@given(st.text() | st.from_regex(r"weavelet(\.[a-z*>-]{0,5}){0,6}"))
def test_subjects(text):
    """Any text is one of our subjects or None, and what is one is spelled back as it was."""
    found = subjects.parse(text)
    if found is not None and found.kind == "control":
        assert subjects.control(found.run, found.job) == text


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_random_bytes(data):
    """The same for bytes that never were a message."""
    for decode in (envelope.decode, functools.partial(jetstream.parse)):
        try:
            decode(data)
        except (MalformedError, BusError):
            continue
    Reader(FromTrainer).feed(data)


@pytest.mark.parametrize("depth", [25, 99, 1_000, 100_000])
def test_deep_nesting_is_malformed(depth):
    """In every format, and where the decoder gives up by RecursionError too."""
    nested = b""
    for _ in range(min(depth, 3_000)):
        nested = b"\x32" + mutation.to_varint(len(nested) + 2) + b"\x0a" + mutation.to_varint(
            len(nested)
        ) + nested  # fmt: skip
    entry = b"\x4a" + mutation.to_varint(len(nested)) + nested
    refused = []
    for name, call in {
        "envelope": lambda: envelope.decode(b"\x1a" + mutation.to_varint(len(entry)) + entry),
        "json": lambda: msgspec.json.decode(
            '{"type": "update_config", "id": "1", "run": "r", "values": {"x": '
            + "[" * depth
            + "]" * depth
            + "}}",
            type=protocol.ClientMessage,
        ),
    }.items():
        try:
            call()
        except (MalformedError, msgspec.DecodeError, RecursionError) as error:
            refused.append((name, type(error)))
    body = b"\x91" * depth + b"\xc0"
    reader = Reader(FromSidecar)
    assert reader.feed(len(body).to_bytes(4, "big") + body) == []
    assert reader.malformed == 1
    if depth >= 1_000:
        assert {name for name, _ in refused} == {"envelope", "json"}


def test_what_is_too_large_is_skipped_without_being_kept():
    """Ten megabytes announced and sent: counted once, and the next frame is read."""
    reader = Reader(FromTrainer)
    reader.feed((10 << 20).to_bytes(4, "big"))
    for _ in range(160):
        assert reader.feed(b"\x93" * (1 << 16)) == []
        assert len(reader._buffer) < 1 << 17
    (message,) = reader.feed(frames.encode(samples.FROM_TRAINER[1]))
    assert message == samples.FROM_TRAINER[1]
    assert reader.malformed == 1

"""JetStream's requests and answers as bytes and values."""

from __future__ import annotations

import base64
import json

import pytest

from weavelet.exceptions import BusError
from weavelet.wire import jetstream
from weavelet.wire.jetstream import ApiError, Stored


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01T00:00:01.5Z", 1.5),
        ("2026-01-31T12:00:00.123456789Z", 1769860800.123456789),
    ],
)
def test_a_time_stamp_of_any_precision_is_read(stamp, expected):
    """The server writes up to nine digits and leaves trailing zeros out."""
    assert jetstream.seconds(stamp) == pytest.approx(expected, abs=1e-6)


def test_the_headers_count():
    """The size of a message is what the server counts against max_payload."""
    assert jetstream.size_of(None, b"abc") == 3
    headers = jetstream.append_headers("id", 7)
    text = b"NATS/1.0\r\nNats-Msg-Id: id\r\nNats-Expected-Last-Subject-Sequence: 7\r\n\r\n"
    assert jetstream.size_of(headers, b"abc") == len(text) + 3


def test_no_expectation_is_no_header():
    """Sequence 0 means that there is none yet; None means that it does not matter."""
    assert jetstream.append_headers("id", None) == {"Nats-Msg-Id": "id"}
    assert jetstream.append_headers("", 0) == {"Nats-Expected-Last-Subject-Sequence": "0"}


def test_an_error_of_the_server_keeps_its_code():
    """A refusal is an ApiError with the server's code and words."""
    data = json.dumps({"error": {"code": 400, "err_code": 10071, "description": "wrong last"}})
    with pytest.raises(ApiError, match="wrong last") as caught:
        jetstream.parse(data.encode())
    assert caught.value.code == 10071


@pytest.mark.parametrize("data", [b"", b"nonsense", b"[1]", b"\xff"])
def test_what_is_no_answer_is_an_error(data):
    """Something else that answers on the subject is not taken for JetStream."""
    with pytest.raises(BusError, match="expected an answer of JetStream"):
        jetstream.parse(data)


def test_both_ways_to_get_a_message_agree():
    """A direct get and a get from the leader give the same Stored."""
    expected = Stored("weavelet.r.j.control", 7, b"data", 1.5, "id")
    headers = {
        "Nats-Subject": expected.subject,
        "Nats-Sequence": "7",
        "Nats-Time-Stamp": "1970-01-01T00:00:01.5Z",
        "Nats-Msg-Id": "id",
    }
    assert jetstream.stored_from_headers(headers, b"data") == expected
    message = {
        "subject": expected.subject,
        "seq": 7,
        "time": "1970-01-01T00:00:01.5Z",
        "hdrs": base64.b64encode(b"NATS/1.0\r\nOther: a:b\r\nNats-Msg-Id: id\r\n\r\n").decode(),
        "data": base64.b64encode(b"data").decode(),
    }
    assert jetstream.stored_from_answer({"message": message}) == expected

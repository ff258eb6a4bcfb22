"""JetStream's requests and answers as bytes and values. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from weavelet.exceptions import BusError

MESSAGE_ID = "Nats-Msg-Id"
EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"
STATUS = "Status"
SEQUENCE = "Nats-Sequence"

WRONG_LAST = frozenset({10071, 10164})
NO_MESSAGE = 10037
NO_STREAM = 10059
STREAM_EXISTS = 10058


class ApiError(BusError):
    """The server refuses a request. `code` is its err_code, 0 where it gives none."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"the NATS server refuses: {text} (code {code})")
        self.code = code


@dataclass(frozen=True)
class Stored:
    """A message as a stream keeps it.

    `time` is when the server stored it, seconds since the epoch on the server's clock; `id` is the
    writer's Nats-Msg-Id, empty where there was none.
    """

    subject: str
    sequence: int
    data: bytes
    time: float
    id: str = ""


def append_headers(message_id: str, expected_last: int | None) -> dict[str, str]:
    """The headers of a write: deduplicated, and compare-and-set where `expected_last` is given."""
    headers = {MESSAGE_ID: message_id} if message_id else {}
    if expected_last is not None:
        headers[EXPECTED_LAST] = str(expected_last)
    return headers


def size_of(headers: Mapping[str, str] | None, data: bytes) -> int:
    """What a message counts against max_payload: the server counts the headers too."""
    if not headers:
        return len(data)
    lines = sum(len(f"{key}: {value}\r\n".encode()) for key, value in headers.items())
    return len(b"NATS/1.0\r\n") + lines + len(b"\r\n") + len(data)


def parse(data: bytes) -> dict[str, Any]:
    """The server's answer to a request.

    Raises:
        ApiError: it refuses.
        BusError: this is no answer of JetStream.
    """
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        msg = f"expected an answer of JetStream, got {data[:100]!r}"
        raise BusError(msg)
    if error := answer.get("error"):
        with _understanding():
            code = int(error.get("err_code") or error.get("code") or 0)
            text = str(error.get("description", error))
        raise ApiError(code, text)
    return answer


def sequence_of(answer: Mapping[str, Any]) -> int:
    """Where the server has put a message. Raises BusError as all that follow here."""
    with _understanding():
        return int(answer["seq"])


def time_of(info: Mapping[str, Any]) -> float:
    """The server's clock when it described a stream, seconds since the epoch."""
    with _understanding():
        return seconds(info["ts"])


def stored_from_headers(headers: Mapping[str, str], data: bytes) -> Stored:
    """A message as a direct get hands it out."""
    with _understanding():
        return Stored(
            subject=headers["Nats-Subject"],
            sequence=int(headers[SEQUENCE]),
            data=data,
            time=seconds(headers["Nats-Time-Stamp"]),
            id=headers.get(MESSAGE_ID, ""),
        )


def stored_from_answer(answer: Mapping[str, Any]) -> Stored:
    """A message as the stream's leader hands it out."""
    with _understanding():
        message = answer["message"]
        headers = base64.b64decode(message.get("hdrs", "")).decode("utf-8", "replace")
        return Stored(
            subject=str(message["subject"]),
            sequence=int(message["seq"]),
            data=base64.b64decode(message.get("data", "")),
            time=seconds(message["time"]),
            id=_header(headers, MESSAGE_ID),
        )


def seconds(stamp: str) -> float:
    """Seconds since the epoch of a server's time stamp, such as 2026-01-31T12:00:00.123456789Z."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


@contextmanager
def _understanding() -> Iterator[None]:
    try:
        yield
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
        msg = f"an answer of JetStream is not as expected: {error!r}"
        raise BusError(msg) from error


def _header(lines: str, name: str) -> str:
    for line in lines.split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""

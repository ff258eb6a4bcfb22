"""Frames: a 4-byte big-endian length, then one message as msgpack. Pure; no I/O."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from weavelet.exceptions import MalformedError

MAX_FRAME_BYTES = 1 << 20
"""The largest body of a frame; a larger one is refused by the sender and skipped by the reader."""

_PREFIX = 4

M = TypeVar("M")

_encoder = msgspec.msgpack.Encoder()


def encode(message: Any) -> bytes:
    """One frame.

    Raises:
        MalformedError: the message is larger than `MAX_FRAME_BYTES` or holds what msgpack cannot.
    """
    buffer = bytearray(_PREFIX)
    try:
        _encoder.encode_into(message, buffer, _PREFIX)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise MalformedError("frame", str(error) or type(error).__name__) from error
    length = len(buffer) - _PREFIX
    if length > MAX_FRAME_BYTES:
        raise MalformedError("frame", f"{length} bytes, at most {MAX_FRAME_BYTES} are allowed")
    buffer[:_PREFIX] = length.to_bytes(_PREFIX, "big")
    return bytes(buffer)


class Reader(Generic[M]):
    """Turns a stream of bytes into messages of one tagged union.

    A body that does not decode, or that is too large, is skipped and counted in `malformed`: the
    lengths still hold, so what follows is read as if nothing had happened.
    """

    def __init__(self, union: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(union)
        self._buffer = bytearray()
        self._skip = 0
        self.malformed = 0

    @property
    def incomplete(self) -> bool:
        """Whether the rest of a message is still to come."""
        return bool(self._buffer) or self._skip > 0

    def feed(self, data: bytes) -> list[M]:
        """The messages that are complete with `data`."""
        self._buffer += data
        messages: list[M] = []
        while (body := self._next_body()) is not None:
            try:
                messages.append(self._decoder.decode(body))
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                self.malformed += 1
        return messages

    def _next_body(self) -> bytes | None:
        buffer = self._buffer
        while True:
            if self._skip:
                dropped = min(self._skip, len(buffer))
                del buffer[:dropped]
                self._skip -= dropped
                if self._skip:
                    return None
            if len(buffer) < _PREFIX:
                return None
            length = int.from_bytes(buffer[:_PREFIX], "big")
            if length > MAX_FRAME_BYTES:
                self.malformed += 1
                self._skip = _PREFIX + length
                continue
            end = _PREFIX + length
            if len(buffer) < end:
                return None
            body = bytes(buffer[_PREFIX:end])
            del buffer[:end]
            return body

"""A request to the NATS server while it is under way, and how it can end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from nats.aio.msg import Msg

from weavelet.exceptions import BusError
from weavelet.wire.jetstream import SEQUENCE, STATUS

__all__ = [
    "LostError",
    "Msg",
    "NoStreamError",
    "Request",
    "TooLargeError",
    "UnansweredError",
    "status_of",
]


class LostError(BusError):
    """The connection ended; what was under way may or may not have been done."""


class UnansweredError(BusError):
    """No answer in time; what was asked may or may not have been done, or be done later."""


class NoStreamError(BusError):
    """Nobody answers on this subject: the stream, or JetStream, is not there."""


class TooLargeError(BusError):
    """More bytes than this server takes in one message; nothing was sent."""


def status_of(answer: Msg) -> str:
    """The status that the server itself answers with, empty where it hands out a message.

    A stored message has a sequence; whatever its writer put into its headers, it is no status.
    """
    headers = answer.headers or {}
    return "" if SEQUENCE in headers else headers.get(STATUS, "")


@dataclass
class Request:
    """A request under way, and its answers so far. `many` takes them until one has a status."""

    subject: str
    many: bool
    future: asyncio.Future[list[Msg]]
    answers: list[Msg] = field(default_factory=list)

    def add(self, answer: Msg) -> None:
        """An answer has come."""
        self.answers.append(answer)
        if not self.many or status_of(answer):
            self.finish()

    def finish(self) -> None:
        """The answers are complete."""
        if not self.future.done():
            self.future.set_result(self.answers)

    def fail(self, error: BusError) -> None:
        """There will be no answer."""
        if not self.future.done():
            self.future.set_exception(error)

    def expire(self) -> None:
        """The time for answers is over."""
        # What has arrived of a long answer is good: the reader goes on from there.
        if self.answers:
            self.finish()
        else:
            self.fail(UnansweredError(f"no answer from the NATS server on {self.subject}"))

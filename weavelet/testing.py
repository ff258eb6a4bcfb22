"""A session without process or server, to test a training script's controls."""

from __future__ import annotations

import itertools
import time
from collections.abc import Hashable, Iterable
from typing import Any

import msgspec

from weavelet.channel.frames import Reader
from weavelet.channel.page import Page
from weavelet.messages import (
    Act,
    Body,
    Decided,
    Deliver,
    Entry,
    FromSidecar,
    FromTrainer,
    Notice,
    Outcome,
    Pause,
    Position,
    Resume,
    Sample,
    Set,
    Stop,
)
from weavelet.session import Weavelet

_LONG_AGO = 1.0
"""Seconds by which what is pushed as expired is too late."""


class LocalEnd:
    """Stands where the channel is, and keeps what the trainer sends."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.inbox: list[FromSidecar] = []
        self.outcomes: list[Outcome] = []
        self.samples: list[Sample] = []
        self._reader: Reader[FromTrainer] = Reader(FromTrainer)

    def receive(self) -> list[FromSidecar]:
        received, self.inbox = self.inbox, []
        return received

    def post(self, frame: bytes, key: Hashable) -> None:
        """What the session says about itself is not looked at."""

    def decide(self, sequence: int, frame: bytes) -> None:
        for message in self._reader.feed(frame):
            if isinstance(message, Decided):
                self.outcomes.append(message.outcome)

    def sample(self, sample: Sample) -> None:
        self.samples.append(sample)

    def lose(self) -> None:
        """Nothing is counted here."""

    def flush(self) -> None:
        """Nothing is held back."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self) -> None:
        """Nothing is open."""

    def close_in_child(self) -> None:
        """Nothing is open."""


class LocalSession(Weavelet):
    """A session whose operator is the test: `push`, `act`, `pause`, `resume`, `request_stop` and
    `notify` queue an entry for the next poll.

    `outcomes` are what became of them, in order; `samples` what was reported.
    """

    def __init__(self, replica_id: str = "local", **arguments: Any) -> None:
        super().__init__(replica_id, **arguments)
        self._local: LocalEnd | None = None
        self._sequence = itertools.count(1)

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of the entries, in the order in which they were decided."""
        return [] if self._local is None else self._local.outcomes

    @property
    def samples(self) -> list[Sample]:
        """What was reported."""
        return [] if self._local is None else self._local.samples

    def push(
        self,
        values: dict[str, Any] | None = None,
        *,
        expect: dict[str, Any] | None = None,
        at_step: int | None = None,
        dry_run: bool = False,
        **more: Any,
    ) -> str:
        """Queue a Set, `push(lr=0.1)` or `push({"lr.head": 0.1})`; returns the entry's id."""
        body = Set({**(values or {}), **more}, expect or {}, dry_run)
        return self.deliver(body, at_step=at_step)

    def act(self, name: str, **arguments: Any) -> str:
        """Queue an action; returns the entry's id."""
        return self.deliver(Act(name, arguments))

    def pause(self, lease: float | None = None) -> str:
        """Queue a pause of `lease` seconds, or until what is queued behind it resumes."""
        return self.deliver(Pause(lease))

    def resume(self) -> str:
        """Queue a resume."""
        return self.deliver(Resume())

    def request_stop(self, reason: str = "") -> str:
        """Queue a stop."""
        return self.deliver(Stop(reason))

    def notify(self, kind: str, **detail: Any) -> str:
        """Queue a notice of an event outside, `notify("device_failed", device="GPU-1")`."""
        return self.deliver(Notice(kind, detail))

    def deliver(self, body: Body, *, at_step: int | None = None, expired: bool = False) -> str:
        """Queue any entry; `expired` makes it come too late. Returns the entry's id."""
        if self._local is None or self._page is None:
            msg = "start the session first: `with local_session() as w:`"
            raise RuntimeError(msg)
        sequence = next(self._sequence)
        entry = Entry(id=f"entry-{sequence}", author="test", body=body, at_step=at_step)
        expires = time.monotonic() - _LONG_AGO if expired else None
        if expired:
            entry = msgspec.structs.replace(entry, deadline=_LONG_AGO)
        self._local.inbox.append(Deliver(entry, Position("local", sequence), expires))
        self._local.page.ring()
        return entry.id

    def _begin(self) -> None:
        page = Page.create()
        self._local = LocalEnd(page)
        self._connect(page, self._local)


def local_session(
    replica_id: str = "local", *, controls: Iterable[object] = (), on_stop: str = "raise"
) -> LocalSession:
    """A session that starts no process and needs no server.

    >>> with local_session() as w:
    ...     rate = [0.1]
    ...     @w.handler("lr", get=lambda: rate[0])
    ...     def set_lr(value: float) -> None:
    ...         rate[0] = value
    ...     entry = w.push(lr="0.01")
    ...     w.poll(0)
    (Change(name='lr', old=0.1, new=0.01),)

    Args:
        replica_id: As in `weavelet.session`.
        controls: As in `weavelet.session`.
        on_stop: As in `weavelet.session`.
    """
    return LocalSession(replica_id, controls=controls, on_stop=on_stop, mode="online")

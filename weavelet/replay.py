"""Stands where the channel is, and brings a session what a record says, with no other process."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Hashable, Sequence
from pathlib import Path

from weavelet.channel.frames import Reader
from weavelet.channel.page import Page
from weavelet.ledger import Due, differences
from weavelet.messages import (
    Decided,
    FromSidecar,
    FromTrainer,
    Outcome,
    Recorded,
    RecordedAct,
    Sample,
)

_MOST_SHOWN = 10

_log = logging.getLogger("weavelet")


class ReplayEnd:
    """Brings each recorded change at the poll of its step, and says where it comes out otherwise.

    What is reported goes nowhere.
    """

    def __init__(self, page: Page, path: Path, due: Sequence[Due]) -> None:
        self._page = page
        self._path = path
        self._due = deque(due)
        self._records = {number: each for one in due for number, each in one.records.items()}
        self._began = False
        self._reader: Reader[FromTrainer] = Reader(FromTrainer)

    def receive(self) -> list[FromSidecar]:
        step = self._page.words[Page.STEP]
        missed: list[Due] = []
        messages: list[FromSidecar] = []
        while self._due and self._due[0].step <= step:
            one = self._due.popleft()
            if one.step == step:
                messages.append(one.message)
            else:
                missed.append(one)
        if missed:
            began = f"the replay begins at step {step}" if not self._began else f"step {step} came"
            _log.warning("replay of %s: %s, without %s", self._path, began, _listed(missed))
        self._began = True
        return messages

    def flush(self) -> None:
        """Let the next poll look, while there is more to come."""
        if self._due:
            self._page.ring()

    def decide(self, sequence: int, frame: bytes) -> None:
        for message in self._reader.feed(frame):
            if isinstance(message, Decided):
                self._compare(self._records[sequence], message.outcome)

    def _compare(self, record: Recorded, outcome: Outcome) -> None:
        if outcome.kind != "applied":
            _log.warning(
                "replay of %s: step %d: %s was applied then, but %s now: %s",
                self._path,
                record.step,
                _named(record),
                outcome.kind,
                outcome.reason,
            )
        elif found := differences(record, outcome.changes):
            _log.warning(
                "replay of %s: step %d: this is not the run that was recorded: %s",
                self._path,
                record.step,
                "; ".join(found),
            )

    def close(self) -> None:
        if self._due:
            _log.warning(
                "replay of %s: the session ended before %s", self._path, _listed(self._due)
            )
            self._due.clear()

    def close_in_child(self) -> None:
        self._due.clear()

    def post(self, frame: bytes, key: Hashable) -> None:
        """Nobody asks what the session says about itself."""

    def sample(self, sample: Sample) -> None:
        """Nobody looks."""

    def lose(self) -> None:
        """Nobody counts."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


def _listed(due: Sequence[Due] | deque[Due]) -> str:
    named = [
        f"step {record.step}: {_named(record)}" for one in due for record in one.records.values()
    ]
    more = f" and {len(named) - _MOST_SHOWN} more" if len(named) > _MOST_SHOWN else ""
    return "; ".join(named[:_MOST_SHOWN]) + more


def _named(record: Recorded) -> str:
    if isinstance(record, RecordedAct):
        return f"act {record.action}"
    return "set " + " ".join(f"{name}={value!r}" for name, value in record.values.items())

"""An append-only log of what happened, and the checker of order, once-ness and loss.

Every process appends lines of its own to one file, each with one write, so that a line is whole
whatever becomes of its writer.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

TESTS = str(Path(__file__).parents[1])
"""What a trainer needs on its PYTHONPATH to write a history."""

NUMBERED = """
import sys, time
import weavelet
from harness.history import History

history = History(sys.argv[1])
number, step = -1, 0
with weavelet.session("trainer-0") as w:
    @w.handler("number", get=lambda: number)
    def set_number(value: int) -> None:
        global number
        history.note("applied", number=value, step=step)
        number = value

    while True:
        w.poll(step)
        w.report(step, loss=0.5)
        step += 1
        time.sleep(0.0005)
"""
"""A trainer with one control, `number`, that notes what is applied in the file of its argument."""


class History:
    """The log, for one process that writes to it."""

    def __init__(self, path):
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what, **fields):
        """Append one event."""
        line = json.dumps({"what": what, "at": time.monotonic(), **fields}) + "\n"
        os.write(self._descriptor, line.encode())

    def close(self):
        os.close(self._descriptor)


def read(path):
    """All events, oldest first."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def violations(events):
    """What is wrong with a history of numbered commands, none if it is as promised.

    `logged` are the commands in the control log, in its order; `applied` what the trainer's handler
    did; `answered` what a client was told, with `kind`; `settled` what the log says became of it;
    `expired` are those in the log whose deadline passed first. Promised: the trainer applies what
    is in the log, all of it, once each, in that order, and nothing that has expired; and who was
    told that a command was applied, or was not, was told the truth.
    """
    logged, applied = numbers(events, "logged"), numbers(events, "applied")
    expired = numbers(events, "expired")
    told = {event["number"]: event["kind"] for event in events if event["what"] == "answered"}
    told_applied = [number for number, kind in told.items() if kind == "applied"]
    told_not = [number for number, kind in told.items() if kind not in {"applied", "unknown"}]
    found = [f"{number} was logged {n} times" for number, n in repeated(logged)]
    found += [f"{number} was applied {n} times" for number, n in repeated(applied)]
    found += [f"{number} is in the log and was not applied" for number in missing(logged, applied)]
    found += [f"{number} was applied and is not in the log" for number in missing(applied, logged)]
    found += [f"{number} was answered with a lie" for number in missing(told_applied, applied)]
    found += [f"{n} was answered with a lie" for n in sorted(set(told_not) & set(applied))]
    found += [f"{n} was applied though it had expired" for n in sorted({*expired} & {*applied})]
    found += [
        f"{number} was answered and is not in the log" for number in missing(told, logged + expired)
    ]
    found += [
        f"{event['number']} was settled as {event['kind']}"
        for event in events
        if event["what"] == "settled" and event["kind"] != "applied"
    ]
    settled = numbers(events, "settled")
    found += [f"{number} was never settled" for number in missing(logged, settled)]
    if not found and applied != logged:
        at = next(at for at, (a, b) in enumerate(zip(applied, logged, strict=True)) if a != b)
        found.append(f"applied as {applied[at : at + 5]}, logged as {logged[at : at + 5]}")
    return found


def numbers(events, what):
    """The numbers of all events of a kind, in order."""
    return [event["number"] for event in events if event["what"] == what]


def repeated(values):
    return [(value, n) for value, n in Counter(values).items() if n > 1]


def missing(these, among):
    return sorted(set(these) - set(among))

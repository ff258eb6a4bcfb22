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
history.note("born")
with weavelet.session("trainer-0") as w:
    @w.handler("number", get=lambda: number)
    def set_number(value: int) -> None:
        global number
        history.note("applied", number=value, step=step)
        number = value

    @w.action("mark")
    def mark(value: int) -> None:
        history.note("ran", number=value, step=step)

    while True:
        w.poll(step)
        w.report(step, loss=0.5)
        step += 1
        time.sleep(0.0005)
"""
"""A trainer with a control, `number`, and an action, `mark`, that notes what they do in a file."""


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

    `born` begins a trainer's life; `logged` are the commands in the control log, in its order;
    `applied` what a trainer's handler did; `answered` what a client was told, with `kind`;
    `settled` what the log says became of it; `expired` are those in the log whose deadline passed
    first. Promised: the trainer applies what is in the log, once, in that order, and nothing that
    has expired; all of it, unless it died. A later life may set again what an earlier one had set,
    in the same order, as it begins with other values; what an action did (`ran`) is never done
    again. Who was told that a command was applied, or was not, was told the truth.
    """
    logged, applied = numbers(events, "logged"), numbers(events, "applied")
    expired, lives = numbers(events, "expired"), lives_of(events)
    told = {event["number"]: event["kind"] for event in events if event["what"] == "answered"}
    settled = {event["number"]: event["kind"] for event in events if event["what"] == "settled"}
    said = [n for kinds in (told, settled) for n, kind in kinds.items() if kind == "applied"]
    denied = [n for n, kind in told.items() if kind not in {"applied", "unknown", "mixed"}]
    found = [f"{n} was logged {times} times" for n, times in repeated(logged)]
    found += [f"{n} was applied and is not in the log" for n in missing(applied, logged + expired)]
    found += [f"{n} was applied though it had expired" for n in common(expired, applied)]
    found += [f"{n} was said to be applied and was not" for n in missing(said, applied)]
    found += [f"{n} was said not to be applied and was" for n in common(denied, applied)]
    found += [f"{n} was answered and is not in the log" for n in missing(told, logged + expired)]
    found += [f"{n} was never settled" for n in missing(logged, settled)]
    if len(lives) == 1:
        found += [f"{n} is in the log and was not applied" for n in missing(logged, applied)]
        found += [f"{n} was settled as {kind}" for n, kind in settled.items() if kind != "applied"]
    found += [f"{n} was run {times} times" for n, times in repeated(numbers(events, "ran"))]
    found += [
        f"{event['number']} was said to be run and was not"
        for event in events
        if event["what"] == "acted" and event["kind"] == "applied"
        if event["number"] not in numbers(events, "ran")
    ]
    for life in lives:
        found += [f"{n} was applied {times} times" for n, times in repeated(life)]
        ordered = [n for n in logged if n in life]
        if not found and life != ordered:
            at = next(at for at, (a, b) in enumerate(zip(life, ordered, strict=True)) if a != b)
            found.append(f"applied as {life[at : at + 5]}, logged as {ordered[at : at + 5]}")
    return found


def lives_of(events):
    """What was applied in each life of the trainer, in order."""
    lives = [] if any(event["what"] == "born" for event in events) else [[]]
    for event in events:
        if event["what"] == "born":
            lives.append([])
        elif event["what"] == "applied":
            lives[-1].append(event["number"])
    return lives


def numbers(events, what):
    """The numbers of all events of a kind, in order."""
    return [event["number"] for event in events if event["what"] == what]


def repeated(values):
    return [(value, n) for value, n in Counter(values).items() if n > 1]


def missing(these, among):
    return sorted(set(these) - set(among))


def common(these, those):
    return sorted(set(these) & set(those))

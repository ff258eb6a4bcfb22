"""Real training processes, and what they say on standard output, a JSON object a line."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

DEADLINE_SECONDS = 30.0

LOOP = """
import json, sys, threading, time
import weavelet

def say(**event):
    print(json.dumps(event), flush=True)

state = {"lr": 0.1, "gain": 1.0}

def declare(w):
    @w.handler("lr", get=lambda: state["lr"])
    def set_lr(value: float) -> None:
        state["lr"] = value

    @w.handler("gain", get=lambda: state["gain"])
    def set_gain(value: float) -> None:
        if value < 0:
            raise RuntimeError("no gain below zero")
        state["gain"] = value

    @w.action("evaluate")
    def evaluate(times: int = 1) -> dict:
        return {"accuracy": 0.5, "times": times}

def train(w, steps=None, pause=0.001):
    step = 0
    while steps is None or step < steps:
        for change in w.poll(step):
            say(step=step, change=change.name, old=change.old, new=change.new)
        w.report(step, loss=1.0 / (step + 1), lr=state["lr"])
        step += 1
        time.sleep(pause)
"""

PLAIN = (
    LOOP
    + """
with weavelet.session("trainer-0") as w:
    declare(w)
    say(started=w.incarnation)
    train(w)
say(stopped=w.stopped)
"""
)


class Trainer:
    """A child process that trains; `events` come from its standard output."""

    def __init__(self, process):
        self.process = process
        self.pid = process.pid
        self._events = queue.Queue()
        self.errors = ""
        self._readers = [
            threading.Thread(target=self._read_events),
            threading.Thread(target=self._read_errors),
        ]
        for reader in self._readers:
            reader.start()

    def _read_events(self):
        for line in self.process.stdout:
            with suppress(ValueError):
                self._events.put(json.loads(line))
        self._events.put(None)

    def _read_errors(self):
        for line in self.process.stderr:
            self.errors += line

    def event(self, key, seconds=DEADLINE_SECONDS):
        """The next event that has `key`."""
        until = time.monotonic() + seconds
        while True:
            try:
                event = self._events.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise AssertionError(
                    f"no event {key!r} within {seconds} s\n{self.errors}"
                ) from None
            if event is None:
                self._events.put(None)
                raise AssertionError(f"the trainer ended without event {key!r}\n{self.errors}")
            if key in event:
                return event

    def kill(self):
        """End it with -9."""
        self.process.kill()
        self.process.wait()

    def say(self, line):
        """Write a line to its standard input, which must have been asked for."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=DEADLINE_SECONDS):
        """Its exit code."""
        return self.process.wait(seconds)

    def close(self):
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
        end_all(self.process)
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def training(script, *arguments, cwd=None, python=(), stdin=False, before=(), **environment):
    """Run a script's text (or the file of a Path) as a trainer.

    `stdin` to be able to `say`; `before` is a command that runs another in its own process.
    """
    program = [str(script)] if isinstance(script, Path) else ["-c", script]
    process = subprocess.Popen(
        [*before, sys.executable, *python, *program, *arguments],
        stdin=subprocess.PIPE if stdin else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**clean_environment(), **environment},
    )
    trainer = Trainer(process)
    try:
        yield trainer
    finally:
        trainer.close()


def clean_environment():
    """This environment without what would name a run, a launcher or a server."""
    names = ("WEAVELET_", "TORCHELASTIC_", "SLURM_", "OMPI_")
    ranks = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(names) and name not in ranks
    }


def children_of(pid):
    """Process ids of the live children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid and fields[0] != "Z":
                    found.append(int(entry.name))
    return found


def is_sidecar(pid):
    """Whether a process is a trainer's sidecar, which ends by itself with its trainer."""
    try:
        return b"sidecar/__main__.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def end_all(process):
    """End a process with -9, and what it has started: a killed launcher leaves its ranks behind."""
    started = [] if process.poll() is not None else _descendants(process.pid)
    process.kill()
    process.wait()
    for pid in started:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid):
    children = [child for child in children_of(pid) if not is_sidecar(child)]
    return [each for child in children for each in (child, *_descendants(child))]


def is_alive(pid):
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

"""The real `weavelet` command, run as its users run it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from contextlib import contextmanager, suppress

from harness.trainers import clean_environment

SECONDS = 60.0
COMMAND = [sys.executable, "-m", "weavelet.client.cli"]


class Shell:
    """Runs commands against one home."""

    def __init__(self, home):
        self.home = home
        self.environment = {**clean_environment(), "WEAVELET_HOME": str(home)}

    def __call__(self, *arguments, code=0):
        """Run one and return what it printed; it must end with this exit code."""
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
        assert "Traceback (most" not in done.stderr, done.stderr
        return done.stdout if code == 0 or done.stdout else done.stderr

    def json(self, *arguments, code=0):
        """The same with --json; what it printed, decoded."""
        return json.loads(self(*arguments, "--json", code=code))

    @contextmanager
    def start(self, *arguments):
        """A command that runs on; killed at the end if it has not ended."""
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def at_terminal(self, *arguments, typed="", typed_after=("", "")):
        """Run one at a terminal, type, and return its exit code and what it showed.

        `typed_after` is what to wait for and what to type then.
        """
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env={**self.environment, "TERM": "xterm", "COLUMNS": "120"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=_own_terminal,  # noqa: PLW1509  there is no other way to one of its own
        )
        os.close(theirs)
        os.write(ours, typed.encode())
        try:
            shown = _read(ours, *typed_after)
            return process.wait(SECONDS), shown
        finally:
            process.kill()
            process.wait()
            os.close(ours)


def _own_terminal():
    # Ctrl-C that is typed goes to the session whose terminal it is.
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read(descriptor, awaited, answer):
    shown = ""
    until = time.monotonic() + SECONDS
    with suppress(OSError):  # the terminal's other end is closed: the command has ended
        while select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
            shown += os.read(descriptor, 4096).decode(errors="replace")
            if answer and awaited in shown:
                os.write(descriptor, answer.encode())
                answer = ""
    return shown

"""The `weavelet` command as a user runs it, and `weavelet up` as a process of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from harness.trainers import clean_environment
from weavelet.client import Client
from weavelet.exceptions import CommandError
from weavelet.settings import read_endpoint

WEAVELET = Path(sys.executable).with_name("weavelet")
DEADLINE_SECONDS = 30.0


class Shell:
    """Runs verbs against one home."""

    def __init__(self, home):
        self.home = Path(home)
        self.environment = {**clean_environment(), "WEAVELET_HOME": str(home)}

    def __call__(self, *arguments, seconds=DEADLINE_SECONDS):
        """The finished process of one verb, with its output as text."""
        return subprocess.run(
            [WEAVELET, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def json(self, *arguments):
        """(exit code, decoded standard output) of one verb with --json."""
        done = self(*arguments, "--json")
        return done.returncode, json.loads(done.stdout)

    def until_listed(self, run, condition=lambda replica: True, seconds=90):
        """Wait until the fleet shows a replica of a run that fits; returns it."""
        for job in self.updates(seconds):
            for replica in job["replicas"]:
                if replica["run"] == run and condition(replica):
                    return replica
        raise AssertionError(f"{run} was not seen within {seconds} s")

    def updates(self, seconds):
        """The jobs of the fleet, looked at again and again, as `ls --json` shows them."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            # Not by the command itself: one that runs all the time slows what is waited for.
            with suppress(CommandError):
                yield from self._jobs()
            time.sleep(0.02)

    def _jobs(self):
        endpoint = read_endpoint(self.home)
        if endpoint is None:
            return []
        with Client(endpoint.http_url, endpoint.token) as client:
            return msgspec.to_builtins(client.jobs())


class Up:
    """A `weavelet up` in the foreground, in a process of its own."""

    def __init__(self, shell, *arguments):
        self._command = [WEAVELET, "up", "--port", "0", *arguments]
        self._environment = shell.environment
        self.process = None

    def start(self):
        """Start it; return when it has printed its link."""
        self.process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = []
        for line in self.process.stdout:
            said.append(line)
            if "#token=" in line:
                return
        raise AssertionError(f"`weavelet up` ended without a link: {''.join(said)}")

    def kill(self):
        """End it with -9."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process is not None:
            self.process.stdout.close()


@contextmanager
def up(shell, *arguments):
    """A running `weavelet up`."""
    server = Up(shell, *arguments)
    try:
        server.start()
        yield server
    finally:
        server.close()

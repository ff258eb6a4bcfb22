"""The trainer's life as seen by a child of it: real processes, stopped and killed."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from weavelet.sidecar.life import death_of_parent, is_frozen

DEADLINE = 20.0

# A parent that may leave a grandchild behind which holds every descriptor, and a watcher below it.
PARENT = """
import os, subprocess, sys
lingering, watcher, out = sys.argv[1] == "lingering", sys.argv[2], int(sys.argv[3])
if lingering and os.fork() == 0:
    os.write(out, b"lingering %d\\n" % os.getpid())
    os.read(0, 1)
    os._exit(0)
subprocess.Popen([sys.executable, "-c", watcher, str(os.getpid()), str(out)], pass_fds=[out])
os.read(0, 1)
"""

WATCHER = """
import asyncio, os, sys, time
from weavelet.sidecar.life import death_of_parent
parent, out = int(sys.argv[1]), int(sys.argv[2])
{prelude}
async def watch():
    death = asyncio.ensure_future(death_of_parent(parent))
    await asyncio.sleep(0)
    os.write(out, b"watching %d\\n" % os.getpid())
    await death
    os.write(out, b"dead %f\\n" % time.monotonic())
asyncio.run(watch())
"""


class Family:
    """A parent process, and what its descendants say on a pipe."""

    def __init__(self, kind, watcher):
        self.out, theirs = os.pipe()
        self.hold, ours = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT, kind, watcher, str(theirs)],
            stdin=self.hold,
            pass_fds=[theirs],
        )
        self.release = ours
        os.close(theirs)
        self.text = b""
        self.pids = []

    def wait_for(self, word):
        """The number that is said after a word."""
        until = time.monotonic() + DEADLINE
        while True:
            *lines, self.text = self.text.split(b"\n")
            for at, line in enumerate(lines):
                said, number = line.decode().split()
                if said != "dead":
                    self.pids.append(int(number))
                if said == word:
                    self.text = b"\n".join([*lines[at + 1 :], self.text])
                    return float(number)
            ready, _, _ = select.select([self.out], [], [], until - time.monotonic())
            assert ready, f"nobody said {word!r} in time"
            data = os.read(self.out, 4096)
            assert data, f"all ended without saying {word!r}"
            self.text += data

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.release)
        os.close(self.hold)
        # All that hold the other end are gone when it ends.
        while os.read(self.out, 4096):
            pass
        os.close(self.out)


@contextmanager
def family(kind="alone", prelude=""):
    """A parent with a watching child."""
    members = Family(kind, WATCHER.format(prelude=prelude))
    try:
        yield members
    finally:
        members.close()


NO_PIDFD = """
def refuse(pid):
    raise PermissionError(1, "Operation not permitted")
if hasattr(os, "pidfd_open"):
    os.pidfd_open = refuse
"""


@pytest.mark.parametrize("prelude", ["", NO_PIDFD], ids=["pidfd", "without pidfd"])
def test_a_killed_parent_is_seen_within_moments(prelude):
    """kill -9: its child knows in well under half a second."""
    with family(prelude=prelude) as members:
        members.wait_for("watching")
        members.process.kill()
        killed = time.monotonic()
        members.process.wait()
        assert members.wait_for("dead") - killed < 0.5


def test_a_worker_that_holds_all_descriptors_does_not_delay_it():
    """A forked worker keeps pipes and sockets open; the parent's death is seen all the same."""
    with family("lingering") as members:
        lingering = int(members.wait_for("lingering"))
        members.wait_for("watching")
        members.process.kill()
        killed = time.monotonic()
        members.process.wait()
        assert members.wait_for("dead") - killed < 0.5
        os.kill(lingering, 0)


def test_a_parent_that_is_gone_before_the_watch_begins_is_seen():
    """The watcher asks for its parent after it has opened it, so no death falls between."""

    async def watch(pid):
        await asyncio.wait_for(death_of_parent(pid), DEADLINE)

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    asyncio.run(watch(gone.pid))
    # A live process that is not the parent, as after the parent's number has been given away.
    asyncio.run(watch(os.getpid()))


def test_a_cancelled_watch_leaves_no_descriptor():
    """The watch can be given up while the parent lives."""

    async def watch():
        watching = asyncio.ensure_future(death_of_parent(os.getppid()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        before = len(list(Path("/proc/self/fd").iterdir()))
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        return before - len(list(Path("/proc/self/fd").iterdir()))

    assert asyncio.run(watch()) == (1 if hasattr(os, "pidfd_open") else 0)


@pytest.fixture
def child():
    """A child that reads its standard input for ever, and says when it does."""
    program = "import sys; print('ready', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def until_frozen_is(pid, expected):
    deadline = time.monotonic() + DEADLINE
    while is_frozen(pid) is not expected:
        assert time.monotonic() < deadline


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_stopped_process_is_frozen_until_it_continues(child):
    """SIGSTOP and SIGCONT are seen; a process that merely waits is not frozen."""
    assert not is_frozen(child.pid)
    child.send_signal(signal.SIGSTOP)
    until_frozen_is(child.pid, expected=True)
    child.send_signal(signal.SIGCONT)
    until_frozen_is(child.pid, expected=False)


NAMED = """
import sys
open("/proc/self/comm", "wb").write(b"\\xff) T (x")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="needs Linux's /proc")
def test_the_name_of_a_process_does_not_matter():
    """One that calls itself what is no text, or what looks like a state, is read like others."""
    process = subprocess.Popen(
        [sys.executable, "-c", NAMED], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    assert not is_frozen(process.pid)
    process.kill()
    process.communicate()


def test_a_process_that_is_gone_is_not_frozen(child):
    """Its death is told by other means."""
    child.kill()
    child.wait()
    assert not is_frozen(child.pid)

"""Faults done to real processes, by their ids, and what processes cost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness.trainers import children_of, is_alive, is_sidecar

DEADLINE_SECONDS = 20.0


def kill(pid):
    """kill -9, and wait until it is gone or a zombie."""
    os.kill(pid, signal.SIGKILL)
    holds(lambda: not is_alive(pid))


def stop(pid):
    """SIGSTOP, and wait until it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    holds(lambda: state_of(pid) in "TZ")


def go_on(pid):
    """SIGCONT; nothing if it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def state_of(pid):
    """The one letter of /proc, Z for what is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def holds(condition, seconds=DEADLINE_SECONDS, what="it"):
    """Return what `condition()` returns once that is true, which it must be in time."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"{what} is not so within {seconds} s")
        time.sleep(0.002)
    return found


def lasting(seconds):
    """Let a fault last: its length is what is tested, and nothing is waited for."""
    time.sleep(max(0.0, seconds))


def sidecars_of(pid):
    """The live sidecars of a trainer."""
    return [child for child in children_of(pid) if is_sidecar(child)]


def sidecar_of(pid, other_than=()):
    """Wait for a trainer's sidecar."""
    return holds(
        lambda: next((one for one in sidecars_of(pid) if one not in other_than), None),
        what=f"a sidecar of {pid}",
    )


def memory_of(pid):
    """Bytes that a process has for itself."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


@contextmanager
def small_filesystem(folder, megabytes):
    """A tmpfs of a few megabytes at `folder`; skips the test where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"a full store needs mount: {error}")
    if done.returncode:
        pytest.skip(f"a full store needs the right to mount a tmpfs: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily: what still has files open there is another's to end.
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Take all space that is left; returns the file to unlink for it."""
    path = folder / "filling"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while file.write(b"\0" * size):
                    pass
        with pytest.raises(OSError, match="No space left"):
            file.write(b"\0")
    return path


def percentile(numbers, share):
    """The smallest number that is not below a share of all."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

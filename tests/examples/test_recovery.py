"""Example 15: a failure that is injected, told to the other replica, and recovered from."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from harness.shell import Shell, up

EXAMPLE = Path(__file__).parents[2] / "examples" / "15_recovery.py"
RUN = "15_recovery"


@pytest.mark.timeout(240)
def test_a_failed_worker_comes_back_with_what_was_set(tmp_path):
    """It resumes from its checkpoint with the rate set before, and the other was told."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    shell = Shell(tmp_path / "home")
    with up(shell):
        process = subprocess.Popen(
            [sys.executable, EXAMPLE, "--steps", "100000000"],
            env={**shell.environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        said = []
        reader = threading.Thread(target=said.extend, args=(process.stdout,))
        reader.start()
        try:
            for worker in ("worker-0", "worker-1"):
                listed(shell, worker, lambda row: row["controls"] and (row["step"] or 0) > 60)
            first = listed(shell, "worker-1", lambda row: True)["incarnation"]
            assert shell("set", RUN, "lr=0.02").returncode == 0
            # The process dies in it: nobody can say that it was done.
            assert shell("act", RUN, "fail", "--replica", "worker-1", "--yes").returncode == 1
            listed(
                shell,
                "worker-1",
                lambda row: (
                    row["incarnation"] != first
                    and row["state"] == "running"
                    and value(row, "lr") == 0.02
                ),
            )
            assert shell("stop", RUN).returncode == 0
            assert process.wait(60) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            reader.join()
            process.stdout.close()
    text = "".join(said)
    assert "worker-1 ended with -9: starting it again" in text
    assert re.search(r"worker-1: resumed at step \d+", text)
    assert "worker-0: told that ['worker-1'] failed" in text


def listed(shell, worker, condition):
    """The row of one worker, once it fits."""
    return shell.until_listed(RUN, lambda row: row["replica"] == worker and condition(row))


def value(row, name):
    """What a control is now."""
    return next((one.get("value") for one in row["controls"] if one["name"] == name), None)

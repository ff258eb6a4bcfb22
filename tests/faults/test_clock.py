"""Wall clocks that jump, with libfaketime: nothing is decided on them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.faults import sidecar_of
from harness.stage import staged
from harness.trainers import PLAIN, training
from harness.watching import watching


def library():
    """libfaketime for programs with threads; Debian's package is `faketime`."""
    for folder in ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib"):
        for path in sorted(Path(folder).glob("**/faketime/libfaketimeMT.so.1")):
            return str(path)
    pytest.skip("a jumping clock needs libfaketime: apt-get install faketime")


class Clock:
    """The wall clock of the processes that get this environment."""

    def __init__(self, folder):
        folder.mkdir()
        self._file = folder / "clock"
        self.jump(0)
        self.environment = {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    def jump(self, hours):
        """From here on it is wrong by so many hours."""
        self._file.write_text(f"{hours:+d}h\n")


# libfaketime does not know the call behind time.sleep.
SCRIPT = PLAIN.replace("import json, sys,", "import json, select, sys,").replace(
    "time.sleep(pause)",
    "select.select([], [], [], pause)\n        if step % 200 == 0: say(wall=time.time())",
)


def test_clocks_that_jump_change_nothing(tmp_path):
    """Of trainer, sidecar and weaver: commands in time, never unknown, a lease keeps its length."""
    ours, theirs = Clock(tmp_path / "trainer"), Clock(tmp_path / "weaver")
    with (
        staged(tmp_path, weaver_environment=theirs.environment) as stage,
        training(SCRIPT, **stage.names("train", "job-1"), **ours.environment) as trainer,
        watching(stage) as watcher,
        stage.client() as client,
    ):
        watcher.until(lambda row: row.state == "running" and row.controls)
        for pid in (trainer.pid, sidecar_of(trainer.pid), stage.weaver.pid):
            assert "libfaketime" in Path(f"/proc/{pid}/maps").read_text()
        for number, (mine, its) in enumerate(((1, 0), (-1, 0), (0, 1), (0, -1), (24, -24))):
            ours.jump(mine)
            theirs.jump(its)
            wrong_by(trainer, mine)
            result = client.set("train", {"lr": number + 1.0}, deadline=5.0)
            assert result.state == "applied"
        began = time.monotonic()
        assert client.pause("train", lease=1.0).state == "applied"
        ours.jump(-3)
        theirs.jump(3)
        watcher.state("running", since=began + 0.5)
        assert 0.5 < time.monotonic() - began < 5
        assert client.set("train", {"lr": 9.0}, deadline=5.0).state == "applied"
        assert watcher.states() <= {"starting", "running", "paused"}
        assert "Traceback" not in trainer.errors


def wrong_by(trainer, hours, seconds=10):
    """Wait until the trainer has noticed; else nothing would be shown here."""
    until = time.monotonic() + seconds
    while abs(trainer.event("wall")["wall"] - time.time() - 3600 * hours) > 60:
        assert time.monotonic() < until, "the clock did not jump"

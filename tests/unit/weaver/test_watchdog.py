from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

from harness.nats import asynchronous, until
from weavelet.weaver import watchdog

HOLDS_THE_INTERPRETER = """
import asyncio, re, threading
from weavelet.weaver import watchdog

watchdog.HANG_SECONDS = 1.0

def hopeless():
    re.match("(a+)+$", "a" * 60 + "!")

async def main():
    watching = asyncio.ensure_future(watchdog.watch())
    await asyncio.sleep(0)
    threading.Thread(target=hopeless, daemon=True).start()
    await watching

asyncio.run(main())
"""


def test_what_holds_the_interpreter_ends_the_process():
    """Nothing else could, and the traceback says where it was."""
    command = [sys.executable, "-c", HOLDS_THE_INTERPRETER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGPROF
    assert "in hopeless" in done.stderr


@asynchronous
async def test_the_timer_ends_with_the_watch(monkeypatch):
    """It is set again and again, and off when nobody looks after it any more."""
    monkeypatch.setattr(watchdog, "_LOOK_SECONDS", 0.01)
    set_to = []
    real = signal.setitimer
    monkeypatch.setattr(
        signal, "setitimer", lambda *wanted: set_to.append(wanted[1]) or real(*wanted)
    )
    watching = asyncio.ensure_future(watchdog.watch())
    await until(lambda: len(set_to) > 2)
    watching.cancel()
    await asyncio.wait([watching])
    assert set_to[-1] == 0
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)

"""Ends a process whose interpreter is held by something that does not let go.

A thread inside of a C function, such as one that matches a pattern, may keep all others from
running, the one that handles signals included: such a process answers nobody, and no SIGTERM ends
it. Only the kernel can, by a timer that counts what the process computes, not how long it sleeps.
"""

from __future__ import annotations

import asyncio
import faulthandler
import signal

HANG_SECONDS = 20.0
"""CPU time without a turn of the event loop; nothing in the weaver takes a tenth of it."""
_LOOK_SECONDS = 1.0
_STDERR = 2


async def watch() -> None:
    """Keep the timer from running out. Ends only by cancellation.

    When it does run out, the tracebacks of all threads are written to stderr and SIGPROF ends the
    process.
    """
    faulthandler.register(signal.SIGPROF, file=_STDERR, all_threads=True, chain=True)
    try:
        while True:
            signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)

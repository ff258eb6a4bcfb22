"""The sidecar's main: one loop, from the trainer's greeting to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys

from weavelet.channel.page import Page
from weavelet.channel.sidecar import SidecarEnd
from weavelet.messages import Hello
from weavelet.sidecar.companion import Companion
from weavelet.sidecar.life import death_of_parent

_log = logging.getLogger("weavelet.sidecar")


def main(channel: int, page: int, trainer: int) -> None:
    """Serve the trainer until it ends. Exits the process."""
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s sidecar of {trainer} %(levelname)s %(message)s"
    )
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    _step_back()
    # Ctrl-C in a terminal is meant for the trainer; the sidecar ends when the trainer does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = 0
    try:
        asyncio.run(_serve(channel, page, trainer))
    except Exception:
        # The one supervised boundary: the trainer replaces a sidecar that ends like this.
        _log.exception("the sidecar ends because of an error of its own")
        status = 1
    sys.stderr.flush()
    # Not a normal exit: a library's thread or finalizer must not keep a sidecar without trainer.
    os._exit(status)


def _step_back() -> None:
    """Low priority, and no right to take a processor from the trainer when something comes."""
    with contextlib.suppress(OSError):
        os.nice(5)
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


async def _serve(channel: int, page: int, trainer: int) -> None:
    end = SidecarEnd(channel, Page(page))
    death = asyncio.create_task(death_of_parent(trainer))
    messages = end.messages()
    first = asyncio.ensure_future(anext(messages, None))
    await asyncio.wait({first, death}, return_when=asyncio.FIRST_COMPLETED)
    if first.done():
        # What came with it is next in `messages`: nothing may be read from the socket before that.
        said = [] if (greeting := first.result()) is None else [greeting]
    else:
        # Of a trainer that lived for less than it takes to start its sidecar, all is there already.
        first.cancel()
        said = end.remaining()
    if said and isinstance(said[0], Hello):
        await Companion(end, said[0], trainer).run(messages, death, said[1:])

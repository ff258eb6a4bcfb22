"""The trainer's life as its sidecar sees it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path


def is_frozen(pid: int) -> bool:
    """Whether the process is stopped by a signal (/proc's state T). False where /proc is not."""
    try:
        # Bytes, since a process may call itself what is no text.
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] in {b"T", b"t"}


async def death_of_parent(pid: int) -> None:
    """Return when the process that started this one, `pid`, is gone.

    A pidfd tells at once; end-of-file on the channel alone would come only when the last forked
    worker of the trainer has closed it.
    """
    if hasattr(os, "pidfd_open"):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError:
            # A kernel or a sandbox without pidfd: watch the parent's id instead.
            descriptor = -1
        if descriptor >= 0:
            try:
                if os.getppid() == pid:
                    await _readable(descriptor)
            finally:
                os.close(descriptor)
            return
    if sys.platform == "darwin" and os.getppid() == pid:
        await _exit_event(pid)
        return
    while os.getppid() == pid:  # noqa: ASYNC110  nothing else tells
        await asyncio.sleep(0.1)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def resolve() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, resolve)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def _exit_event(pid: int) -> None:
    import select  # noqa: PLC0415  its kqueue exists on macOS only

    queue = select.kqueue()  # type: ignore[attr-defined,unused-ignore]
    event = select.kevent(  # type: ignore[attr-defined,unused-ignore]
        pid,
        filter=select.KQ_FILTER_PROC,  # type: ignore[attr-defined,unused-ignore]
        flags=select.KQ_EV_ADD | select.KQ_EV_ONESHOT,  # type: ignore[attr-defined,unused-ignore]
        fflags=select.KQ_NOTE_EXIT,  # type: ignore[attr-defined,unused-ignore]
    )
    try:
        queue.control([event], 0)
    except ProcessLookupError:
        return
    await _readable(queue.fileno())
    queue.close()

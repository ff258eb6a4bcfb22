"""A real nats-server, and buses connected to it."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import time
from contextlib import asynccontextmanager, contextmanager, suppress

from weavelet.weaver.nats_server import NatsServer
from weavelet.wire.bus import Bus, Server

DEADLINE_SECONDS = 20.0


def asynchronous(test):
    """Run an `async def` test in a loop of its own, for a minute at most."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run


@contextmanager
def running_nats(folder, *, port=0):
    """A nats-server with its store in `folder`. Not to be entered inside a running loop."""
    server = NatsServer(folder, port=port)
    asyncio.run(server.start())
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            server.process.send_signal(signal.SIGCONT)
        asyncio.run(server.stop())


def kill(server):
    """End a server with -9, and wait until it is gone."""
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def wipe(server):
    """Remove the store of a server that does not run."""
    shutil.rmtree(server.folder / "store")


@asynccontextmanager
async def connected_bus(server, *, name="test", streams=True):
    """A bus that runs, connected to a NatsServer, wherever that one is now."""
    async with running_bus(lambda: Server(server.url), name=name) as bus:
        await within(bus.wait_connected())
        if streams:
            await bus.create_streams()
        yield bus


@asynccontextmanager
async def running_bus(resolve, *, name="test"):
    """A bus that runs, connected or not."""
    bus = Bus(resolve, name=name)
    task = asyncio.create_task(bus.run())
    try:
        yield bus
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def within(awaitable, seconds=DEADLINE_SECONDS):
    """The result of `awaitable`, which must come in time."""
    return await asyncio.wait_for(awaitable, seconds)


async def until(condition, seconds=DEADLINE_SECONDS):
    """Return when `condition()` holds, which it must in time; poll it every millisecond."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            msg = f"not so within {seconds} s"
            raise AssertionError(msg)
        await asyncio.sleep(0.001)

"""`weavelet demo`."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from weavelet.client.address import Address, link
from weavelet.client.connection import Connection
from weavelet.client.demo_display import Bars, Display, Lines
from weavelet.client.fleet import ENDED, Fleet
from weavelet.exceptions import CommandError
from weavelet.settings import Endpoint
from weavelet.weaver import protocol

RUN = "demo"
_PAUSE_SECONDS = 0.015
_STEP_SECONDS = _PAUSE_SECONDS + 0.002
_STEPS = 18_000
_LAST_WORD_SECONDS = 2.0
_END_SECONDS = 5.0
_CLEAN_UP_SECONDS = 15.0
"""More than ending the trainers and the server takes."""
_LOG_TAIL_LINES = 15


def demo(
    *,
    headless: Annotated[bool, Parameter(help="Plain lines instead of progress bars.")] = False,
    steps: Annotated[int, Parameter(help=f"How long each trains [{_STEPS}: 5 minutes].")] = _STEPS,
    replicas: Annotated[int, Parameter(help="How many trainers [2].")] = 2,
    port: Annotated[int, Parameter(help="Of the weaver [any free one].")] = 0,
) -> None:
    """See it work: a small real training and its server, in a temporary home."""
    for name, least, number in (("--steps", 1, steps), ("--replicas", 1, replicas)):
        if number < least:
            msg = f"{name}: expected an integer >= {least}, got {number}"
            raise CommandError("usage", msg, exit_code=2)
    missing = [name for name in ("torch", "sklearn") if importlib.util.find_spec(name) is None]
    if missing:
        msg = (
            f"The demo trains with PyTorch and scikit-learn, but {' and '.join(missing)} cannot "
            "be imported here: pip install 'torchloom-weavelet[demo]'"
        )
        raise CommandError("missing_extra", msg)
    plain = headless or not sys.stdout.isatty()
    with tempfile.TemporaryDirectory(prefix="weavelet-demo-") as home:
        try:
            asyncio.run(_run(Path(home), plain, steps, replicas, port))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


async def _run(home: Path, plain: bool, steps: int, replicas: int, port: int) -> None:
    """Show it until it is over, or a signal ends it: as cancelled, once all is cleaned up."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    showing = asyncio.create_task(_show(home, plain, steps, replicas, port))
    signalled = asyncio.create_task(ending.wait())
    await asyncio.wait({showing, signalled}, return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    while not showing.done():
        showing.cancel()
        # Again: before Python 3.12, asyncio.wait_for may swallow what cancels it as it ends.
        await asyncio.wait({showing}, timeout=_CLEAN_UP_SECONDS)
    await showing


async def _show(home: Path, plain: bool, steps: int, replicas: int, port: int) -> None:
    async with _service(home, port) as endpoint:
        _welcome(home, endpoint, steps)
        names = [f"trainer-{number}" for number in range(replicas)]
        display: Display = Lines() if plain else Bars(names, steps)
        with display:
            following = asyncio.create_task(_follow(endpoint, display, set(names)))
            try:
                await _train(home, names, steps)
                # The last reports are on their way; a weaver that is gone does not hold us up.
                await asyncio.wait([following], timeout=_LAST_WORD_SECONDS)
            finally:
                following.cancel()
                with suppress(asyncio.CancelledError, CommandError):
                    await following
    print(
        "Done: all trainers have ended, and the server with them. Where you have exported it:\n"
        "    unset WEAVELET_HOME"
    )


@asynccontextmanager
async def _service(home: Path, port: int) -> AsyncIterator[Endpoint]:
    from weavelet.weaver.service import Options, Service  # noqa: PLC0415  its parts take time

    service = Service(Options(home=home, port=port))
    endpoint = await service.start()
    try:
        yield endpoint
    finally:
        await service.stop()


def _path_line() -> str:
    """What makes `weavelet` this program where another, or none, has that name."""
    program = Path(sys.argv[0]).absolute()
    found = shutil.which(program.name)
    if program.name != "weavelet" or (found and Path(found).resolve() == program.resolve()):
        return ""
    return f"    export PATH={shlex.quote(str(program.parent))}:$PATH\n"


def _welcome(home: Path, endpoint: Endpoint, steps: int) -> None:
    print(
        f"""\
The page: {link(endpoint.http_url, endpoint.token)}
To steer it from another terminal:
{_path_line()}    export WEAVELET_HOME={shlex.quote(str(home))}
    weavelet ls
    weavelet set {RUN} lr=0.1 momentum=0.5
    weavelet act {RUN} evaluate
    weavelet pause {RUN} --for 10s
    weavelet log {RUN}
    weavelet stop {RUN}
Training starts in a moment and takes about {_duration(steps * _STEP_SECONDS)}, so that there \
is time to try these: each
trainer rests {_PAUSE_SECONDS * 1000:g} ms after each of its {steps} steps. \
Ctrl-C here ends it sooner.
""",
        flush=True,
    )


def _duration(seconds: float) -> str:
    """`41 s`, `5 minutes`."""
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes > 1 else f"{seconds:.0f} s"


async def _train(home: Path, names: list[str], steps: int) -> None:
    """Run one trainer a name, all to their end; if one fails, the others are ended.

    Raises:
        CommandError: one ended otherwise than it should.
    """
    work = [
        asyncio.create_task(_train_one(home, name, seed, steps)) for seed, name in enumerate(names)
    ]
    try:
        await asyncio.gather(*work)
    except CommandError:
        # Cancelled together they are cancelled already, and once is enough.
        for trainer in work:
            trainer.cancel()
        raise
    finally:
        await asyncio.wait(work)


async def _train_one(home: Path, name: str, seed: int, steps: int) -> None:
    starting = asyncio.ensure_future(_start(home, name, seed, steps))
    try:
        code = await (await asyncio.shield(starting)).wait()
    finally:
        # A process that is being started must be there to be ended.
        await _end(await starting)
    if code != 0:
        lines = _log(home, name).read_text("utf-8", "replace").splitlines()
        tail = "\n".join(lines[-_LOG_TAIL_LINES:])
        raise CommandError("failed", f"{name} ended with exit code {code}:\n{tail}")


async def _start(home: Path, name: str, seed: int, steps: int) -> asyncio.subprocess.Process:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("WEAVELET_")},
        "WEAVELET_HOME": str(home),
        "TMPDIR": str(home),  # torch leaves folders there
        "WEAVELET_JOB": f"{RUN}-{os.getpid()}",
    }
    with _log(home, name).open("wb") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "weavelet.integrations.demo",
            f"--replica={name}",
            f"--steps={steps}",
            f"--pause={_PAUSE_SECONDS}",
            f"--seed={seed}",
            cwd=home,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us; we end them
        )


def _log(home: Path, name: str) -> Path:
    return home / f"{name}.log"


async def _end(trainer: asyncio.subprocess.Process) -> None:
    if trainer.returncode is not None:
        return
    with suppress(ProcessLookupError):
        trainer.terminate()
    try:
        await asyncio.wait_for(trainer.wait(), _END_SECONDS)
    except asyncio.TimeoutError:
        trainer.kill()
        await trainer.wait()


async def _follow(endpoint: Endpoint, display: Display, waiting: set[str]) -> None:
    """Show what the trainers report, until all have ended and their last samples are in."""
    connection = await Connection.open(Address(endpoint.http_url, endpoint.token, "the demo"))
    fleet = Fleet()
    seen: dict[str, int] = {}
    try:
        async for update in _updates(connection):
            fleet.update(update)
            if isinstance(update, protocol.Metrics):
                display.reported(update)
                seen[update.replica] = update.steps[-1]
            replicas = [replica for job in fleet.jobs for replica in job.replicas]
            if waiting <= {each.replica for each in replicas if _is_told(each, seen)}:
                return
    finally:
        await connection.close()


def _is_told(replica: protocol.ReplicaView, seen: dict[str, int]) -> bool:
    return replica.state in ENDED and seen.get(replica.replica, -1) >= (replica.step or 0)


def _updates(connection: Connection) -> AsyncGenerator[protocol.ServerMessage, None]:
    return connection.ask(protocol.Subscribe(id="", runs=[RUN], metrics=True))

"""`weavelet down`."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

from weavelet import settings
from weavelet.client import output
from weavelet.client.options import HomeFolder, Json
from weavelet.exceptions import CommandError

_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.05


def down(*, home: HomeFolder = None, json: Json = False) -> None:
    """Stop the server that `up` started. Training goes on without it."""
    from weavelet.weaver.home import running  # noqa: PLC0415  the weaver's parts on demand

    folder = (home or settings.home()).absolute()
    endpoint = running(folder)
    if endpoint is None:
        _tell(folder, None, json=json)
        return
    if endpoint.host != socket.gethostname():
        msg = f"The server of {folder} runs on {endpoint.host}. Run `weavelet down` there."
        raise CommandError("unavailable", msg)
    process = _open(endpoint.pid)
    # Asked again with the process in hand: it cannot be taken for another one now.
    if running(folder) == endpoint:
        with suppress(ProcessLookupError):
            os.kill(endpoint.pid, signal.SIGTERM)
        _wait(endpoint.pid, process)
    _tell(folder, endpoint.pid, json=json)


def _tell(folder: Path, pid: int | None, *, json: bool) -> None:
    if json:
        output.print_json({"home": str(folder), "stopped": pid})
    elif pid is None:
        print(f"Nothing is up in {folder}.")
    else:
        print(f"Stopped (process {pid}).")


def _open(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        # Not Linux, or gone already; _wait then looks for the pid itself.
        return None


def _wait(pid: int, process: int | None) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    if process is not None:
        gone = bool(select.select([process], [], [], _PATIENCE_SECONDS)[0])
        os.close(process)
    else:
        while not (gone := not _exists(pid)) and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
    if not gone:
        msg = (
            f"Process {pid} got SIGTERM but did not end within {_PATIENCE_SECONDS:g} s. "
            f"If it hangs: kill -9 {pid}"
        )
        raise CommandError("failed", msg)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

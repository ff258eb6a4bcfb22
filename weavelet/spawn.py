"""Starting, watching and leaving the sidecar."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import msgspec

from weavelet.channel.page import Page

RESTARTS = 3
"""How often a dead sidecar is replaced within `WINDOW` seconds before the session gives up."""
WINDOW = 60.0

_log = logging.getLogger("weavelet")
_IMPORTED_BY_SIDECAR = ("weavelet", "msgspec", "nats", "google.protobuf", "psutil", "pynvml")


class Spawner:
    """Keeps one sidecar beside this process.

    `attach` is called with our end of a new socket pair, from `start` in the caller's thread and
    from the watching thread for each replacement. The watching thread waits for the process to end
    and does nothing else, so it costs nothing while all is well.
    """

    def __init__(self, page: Page, attach: Callable[[socket.socket], None]) -> None:
        self._page = page
        self._attach = attach
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The live sidecar's process id."""
        process = self._process
        return None if process is None else process.pid

    def start(self) -> None:
        """Start the first sidecar. Failing that, say so once and let training go on without."""
        if self._spawn():
            threading.Thread(target=self._watch, name="weavelet-watch", daemon=True).start()

    def stop(self) -> None:
        """Start no more sidecars. The present one ends itself when it has said what it has to."""
        with self._lock:
            self._stopping = True

    def _watch(self) -> None:
        starts: deque[float] = deque(maxlen=RESTARTS)
        while (process := self._process) is not None:
            process.wait()
            with self._lock:
                self._process = None
                if self._stopping:
                    return
            now = time.monotonic()
            if len(starts) == RESTARTS and now - starts[0] < WINDOW:
                _log.warning(
                    "the sidecar ended %d times within %d s (last exit code %d); training goes on, "
                    "but this session can no longer be seen or steered",
                    RESTARTS + 1,
                    WINDOW,
                    process.returncode,
                )
                return
            starts.append(now)
            self._spawn()

    def _spawn(self) -> bool:
        python = os.environ.get("WEAVELET_PYTHON") or sys.executable
        if not python:
            _log.warning(
                "no Python interpreter to run the sidecar with (sys.executable is empty); "
                "set WEAVELET_PYTHON to one; training goes on unseen"
            )
            return False
        try:
            ours, theirs = socket.socketpair()
            with theirs, contextlib.ExitStack() as stack:
                stack.callback(ours.close)
                if not self._launch(python, theirs.fileno()):
                    return False
                stack.pop_all()
        except OSError as error:
            _log.warning("cannot start the sidecar: %s; training goes on unseen", error)
            return False
        self._attach(ours)
        return True

    def _launch(self, python: str, channel: int) -> bool:
        """False if the session is over."""
        roots = msgspec.json.encode(_import_roots()).decode()
        with self._lock:
            if self._stopping:
                return False
            page = self._page.descriptor
            self._process = _launch(_command(python, channel, page, roots), channel, page)
            return True


def _launch(command: list[str], *descriptors: int) -> subprocess.Popen[bytes]:
    log = os.environ.get("WEAVELET_SIDECAR_LOG") or os.devnull
    with open(log, "ab") as errors:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=descriptors,
            start_new_session=True,
            cwd="/",
        )


def _command(python: str, channel: int, page: int, roots: str) -> list[str]:
    """Run isolated: the trainer's working directory and PYTHON* variables must not matter."""
    main = Path(__file__).with_name("sidecar") / "__main__.py"
    return [
        python,
        "-I",
        str(main),
        str(channel),
        str(page),
        str(os.getpid()),
        roots,
    ]


def _import_roots() -> list[str]:
    """The folders that hold what the sidecar imports, in case that its own path lacks them."""
    roots: dict[str, None] = {}
    for name in _IMPORTED_BY_SIDECAR:
        package = sys.modules.get(name)
        if package is not None and getattr(package, "__file__", None):
            origin: str | None = package.__file__
        else:
            origin = _origin(name)
        if origin is not None:
            depth = name.count(".") + (2 if Path(origin).stem == "__init__" else 1)
            roots[str(Path(origin).parents[depth - 1])] = None
    return list(roots)


def _origin(name: str) -> str | None:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError, OSError):
        return None
    return None if spec is None else spec.origin

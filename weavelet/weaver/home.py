"""The home folder of a `weavelet up`: one at a time, its secrets, its endpoint.json.

The lock is a flock on `lock`, held for the process's life: two NATS servers on one store both run
and corrupt it. `secrets.json` outlives the process, so that links and clients do as well.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from weavelet.exceptions import CommandError, WeaveletError
from weavelet.settings import Endpoint, is_alive, is_unlocked, read_endpoint

_NETWORK = {"afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs"} | {
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "orangefs",
    "panfs",
    "pvfs2",
    "smb3",
    "smbfs",
    "wekafs",
}
_START_SECONDS = 15.0
"""How long a first `up` may take from its lock to its endpoint.json."""


class AlreadyUpError(WeaveletError):
    """Another `up` has this home; `endpoint` is where it listens."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(f"weavelet is already up at {endpoint.http_url}")
        self.endpoint = endpoint


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """What a home keeps from one `up` to the next. A port is 0 until one was used."""

    token: str
    viewer_token: str
    nats_password: str
    nats_port: int = 0
    http_port: int = 0


class Home:
    """A locked home. `nats` is the folder for the NATS server's files."""

    def __init__(self, folder: Path, store: Path | None = None) -> None:
        """Create and lock the folder.

        Raises:
            AlreadyUpError: another process has it, and is up.
            CommandError: the folder cannot be used; the text says why and what to do.
        """
        self.folder = folder
        self.nats = store or folder / "nats"
        if store is None:
            _refuse_network(self.nats)
        _make(folder, "lock", "set WEAVELET_HOME to a folder of your own")
        _make(self.nats, "nats-server.lock", "name a folder of your own with --store")
        self._lock = _lock(folder)
        # Whoever wrote it is gone: we have the lock.
        self.withdraw()

    def secrets(self) -> Secrets:
        """The secrets of this home, made at the first call.

        Raises:
            CommandError: they cannot be read or written, or another user knows them.
        """
        try:
            with (self.folder / "secrets.json").open("rb") as file:
                _refuse_foreign(Path(file.name), os.fstat(file.fileno()), "remove it for new ones")
                return msgspec.json.decode(file.read(), type=Secrets)
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            text = f"cannot read {self.folder / 'secrets.json'}: {error}; remove it for new ones"
            raise CommandError("unavailable", text) from error
        made = Secrets(
            token=secrets.token_urlsafe(32),
            viewer_token=secrets.token_urlsafe(32),
            nats_password=secrets.token_hex(24),
        )
        self.keep(made)
        return made

    def keep(self, kept: Secrets) -> None:
        """Write the secrets, readable by the user alone."""
        self._write("secrets.json", msgspec.json.encode(kept))

    def publish(self, endpoint: Endpoint) -> None:
        """Write endpoint.json at once and whole, readable by the user alone."""
        self._write("endpoint.json", msgspec.json.encode(endpoint))

    def withdraw(self) -> None:
        """Remove endpoint.json."""
        with suppress(FileNotFoundError):
            (self.folder / "endpoint.json").unlink()

    def close(self) -> None:
        """Let go of the home."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _write(self, name: str, data: bytes) -> None:
        fresh = self.folder / f".{name}.{os.getpid()}"
        try:
            with suppress(FileNotFoundError):
                fresh.unlink()
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                f.write(data)
            fresh.replace(self.folder / name)
        except OSError as error:
            raise CommandError(
                "unavailable", f"cannot write {self.folder / name}: {error}"
            ) from error


def running(folder: Path) -> Endpoint | None:
    """The endpoint of the `up` that has this home now, None if there is none.

    Its lock must be held, and where it says to run on this host, its process must live since the
    same boot.
    """
    endpoint = read_endpoint(folder)
    if endpoint is None or is_unlocked(folder / "lock"):
        return None
    return endpoint if _may_live(endpoint) else None


def _may_live(endpoint: Endpoint) -> bool:
    if endpoint.host != socket.gethostname():
        return True
    return is_alive(endpoint)


def _make(folder: Path, mark: str, otherwise: str) -> None:
    """A folder that is the user's alone; `mark` is the file by which one of ours is known."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(folder, folder.stat(), otherwise)
        if folder.stat().st_mode & 0o077:
            _refuse_shared(folder, mark, otherwise)
            folder.chmod(0o700)
    except OSError as error:
        text = f"cannot use {folder}: {error.strerror}; {otherwise}"
        raise CommandError("unavailable", text) from error


def _refuse_foreign(path: Path, found: os.stat_result, otherwise: str) -> None:
    # For root as well, who can use everybody's: with the tokens in it they would command.
    if found.st_uid not in (os.geteuid(), 0):
        text = f"{path} belongs to another user (uid {found.st_uid}); {otherwise}"
        raise CommandError("forbidden", text)


def _refuse_shared(folder: Path, mark: str, otherwise: str) -> None:
    # Closing it would shut others out of what is theirs: /tmp, or a whole disk.
    others = {path.name for path in folder.iterdir()} - {"up.log", "lost+found"}
    if others and not (folder / mark).exists():
        text = (
            f"{folder} is open to other users and holds files that are not weavelet's, so it "
            f"cannot be made private; {otherwise}"
        )
        raise CommandError("unavailable", text)


def _lock(folder: Path) -> int:
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        text = f"cannot write to {folder}: {error.strerror}; set WEAVELET_HOME to another folder"
        raise CommandError("unavailable", text) from error
    until = time.monotonic() + _START_SECONDS
    while not _try_lock(descriptor):
        endpoint = read_endpoint(folder)
        if endpoint is not None and _may_live(endpoint):
            os.close(descriptor)
            raise AlreadyUpError(endpoint)
        if time.monotonic() > until:
            os.close(descriptor)
            text = (
                f"another process holds {folder / 'lock'} without being up; "
                "end it, or set WEAVELET_HOME to another folder"
            )
            raise CommandError("unavailable", text)
        time.sleep(0.05)  # it is starting and has no endpoint yet, or somebody is looking
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_network(store: Path) -> None:
    kind = filesystem(store)
    if kind in _NETWORK:
        text = (
            f"{store} is on a network file system ({kind}), which loses what the NATS server "
            "writes; name a folder on a local disk with --store"
        )
        raise CommandError("unavailable", text)


def filesystem(path: Path) -> str:
    """The type of the file system that holds `path`, or would hold it."""
    path = path.resolve()
    holders = [
        (len(Path(one.mountpoint).parts), one.fstype)
        for one in psutil.disk_partitions(all=True)
        if path.is_relative_to(one.mountpoint)
    ]
    return max(holders, default=(0, ""))[1]

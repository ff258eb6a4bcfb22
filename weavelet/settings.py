"""Every WEAVELET_* variable, names and slugs, and where a running `weavelet up` is found.

Arguments beat the environment, the environment beats the defaults.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

VARIABLES: dict[str, str] = {
    "WEAVELET_RUN": "name of the run; default: the script's name, else `interactive`",
    "WEAVELET_JOB": "name of this launch of the run; default: the launcher's id",
    "WEAVELET_REPLICA": "replica id; default: rank-{RANK}, else {host}-{pid}",
    "WEAVELET_MODE": "`disabled` turns poll() and report() into no-ops; default `online`",
    "WEAVELET_HOME": "folder of the embedded server and its endpoint.json",
    "WEAVELET_NATS_URL": "NATS server for sessions; default: the endpoint.json in the home",
    "WEAVELET_UP_NATS_URL": "NATS server for `weavelet up`; default: one of its own",
    "WEAVELET_CREDS": "NATS credentials file",
    "WEAVELET_URL": "address of the weaver for CLI and client; default: the endpoint.json",
    "WEAVELET_TOKEN": "token of the weaver for CLI and client; default: the endpoint.json",
    "WEAVELET_NATS_SERVER": "path of a nats-server to use instead of the installed one",
    "WEAVELET_PYTHON": "Python interpreter for the sidecar; default: this one",
    "WEAVELET_STALL_SECONDS": "least time without a poll that counts as a hang; default 30",
    "WEAVELET_SIDECAR_LOG": "file to which the sidecar appends its log; default: none",
}

_SLUG = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_RANK_VARIABLES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
_LOCAL_RANK_VARIABLES = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK")
_WORLD_SIZE_VARIABLES = ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of endpoint.json: where a running `weavelet up` listens.

    `started` is seconds since the epoch, `boot` the kernel's boot id and `birth` the start of the
    process on the kernel's own clock, both empty where there are none.
    """

    nats_url: str
    http_url: str
    token: str
    pid: int
    started: float
    host: str
    boot: str = ""
    viewer_token: str = ""
    birth: str = ""


def is_slug(text: str) -> bool:
    """Whether `text` can be the name of a run, a job or a replica."""
    return _SLUG.match(text) is not None


def slugify(text: str) -> str:
    """The nearest valid spelling of `text`."""
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:64].strip("-")
    return slug or "unnamed"


def check_slug(what: str, text: object) -> str:
    """Return `text` if it is a slug.

    Raises:
        ValueError: it is not; the message shows a valid spelling.
    """
    if isinstance(text, str) and is_slug(text):
        return text
    msg = (
        f"{what} must be 1 to 64 of A-Z a-z 0-9 _ -, but got {text!r}; "
        f"a valid spelling is {slugify(str(text))!r}."
    )
    raise ValueError(msg)


def run_name(argument: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The run: argument, WEAVELET_RUN, the script's stem made a slug, else `interactive`.

    Raises:
        ValueError: the argument or the variable is not a slug.
    """
    if argument is not None:
        return check_slug("run", argument)
    if given := environ.get("WEAVELET_RUN"):
        return check_slug("WEAVELET_RUN", given)
    return _script_name() or "interactive"


def _script_name() -> str | None:
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in ("__main__", "ipykernel_launcher"):
        parts = spec.name.split(".")
        stem = parts[-2] if parts[-1] == "__main__" and len(parts) > 1 else parts[-1]
        return None if stem.startswith("ipykernel") else slugify(stem)
    path = getattr(main, "__file__", None)
    if path and "ipykernel" not in path:
        script = Path(path).absolute()
        return slugify(script.parent.stem if script.stem == "__main__" else script.stem)
    return None


def replica_name(argument: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The replica: argument, WEAVELET_REPLICA, rank-{RANK}, else {host}-{pid}.

    Raises:
        ValueError: the argument or the variable is not a slug.
    """
    if argument is not None:
        return check_slug("replica_id", argument)
    if given := environ.get("WEAVELET_REPLICA"):
        return check_slug("WEAVELET_REPLICA", given)
    rank = rank_of(environ)
    if rank is not None:
        return f"rank-{rank}"
    pid = os.getpid()
    return f"{slugify(socket.gethostname())[:48]}-{pid}"


def replica_is_named(argument: str | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody chose the replica's name, so that it means the same in another process."""
    return bool(argument or environ.get("WEAVELET_REPLICA")) or rank_of(environ) is not None


def rank_of(environ: Mapping[str, str] = os.environ) -> int | None:
    """The global rank as the launcher set it, None outside of one."""
    return _first_integer(_RANK_VARIABLES, environ)


def local_rank_of(environ: Mapping[str, str] = os.environ) -> int | None:
    """The rank on this host as the launcher set it, None outside of one."""
    return _first_integer(_LOCAL_RANK_VARIABLES, environ)


def world_size_of(environ: Mapping[str, str] = os.environ) -> int | None:
    """The number of ranks as the launcher set it, None outside of one."""
    return _first_integer(_WORLD_SIZE_VARIABLES, environ)


def local_world_size_of(environ: Mapping[str, str] = os.environ) -> int | None:
    """The number of ranks on this host as the launcher set it, None outside of one."""
    return _first_integer(("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"), environ)


def _first_integer(names: tuple[str, ...], environ: Mapping[str, str]) -> int | None:
    for name in names:
        text = environ.get(name, "")
        if text.isascii() and text.isdigit():
            return int(text)
    return None


def job_name(argument: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The job: argument, WEAVELET_JOB, torchelastic's run id, SLURM's job and step, else a hash.

    The hash is of host, pid and start time of the launcher where a launcher set RANK, of the parent
    in children of multiprocessing, else of this process, so that all ranks on one host share it and
    two launches do not.

    Raises:
        ValueError: the argument or the variable is not a slug.
    """
    if argument is not None:
        return check_slug("job", argument)
    if given := environ.get("WEAVELET_JOB"):
        return check_slug("WEAVELET_JOB", given)
    if elastic := _elastic_id(environ):
        return slugify(elastic)
    if slurm := environ.get("SLURM_JOB_ID"):
        return slugify(f"slurm-{slurm}-{environ.get('SLURM_STEP_ID', '0')}")
    launched = rank_of(environ) is not None or _is_child_of_multiprocessing()
    pid = os.getppid() if launched else os.getpid()
    digest = hashlib.sha256(f"{socket.gethostname()} {pid} {process_birth(pid)}".encode())
    return digest.hexdigest()[:12]


def job_is_local(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the job's name is a guess that holds on one host only."""
    named = ("WEAVELET_JOB", "SLURM_JOB_ID")
    return not any(environ.get(name) for name in named) and not _elastic_id(environ)


def _is_child_of_multiprocessing() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _elastic_id(environ: Mapping[str, str]) -> str:
    given = environ.get("TORCHELASTIC_RUN_ID", "")
    return "" if given == "none" else given


def process_birth(pid: int) -> str:
    """When a process started, on the kernel's own clock.

    Empty where that cannot be told, and for one that has ended though nobody has looked after it.
    """
    try:
        # Bytes, since a process may call itself what is no text.
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        # No /proc (macOS): the pid alone then tells two launches apart, until it is used again.
        return ""
    state, *fields = stat.rpartition(b")")[2].split()
    return "" if state in b"ZX" else fields[18].decode()


def mode(argument: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """`online` or `disabled`: argument, else WEAVELET_MODE, else online.

    Raises:
        ValueError: it is neither.
    """
    chosen = argument or environ.get("WEAVELET_MODE") or "online"
    if chosen not in ("online", "disabled"):
        msg = f"mode (WEAVELET_MODE) must be 'online' or 'disabled', got {chosen!r}"
        raise ValueError(msg)
    return chosen


def stall_seconds(environ: Mapping[str, str] = os.environ) -> float:
    """The least time without a poll that counts as a hang: WEAVELET_STALL_SECONDS, else 30.

    Raises:
        ValueError: it is not a number above 0.
    """
    given = environ.get("WEAVELET_STALL_SECONDS") or "30"
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        msg = f"WEAVELET_STALL_SECONDS must be seconds > 0, got {given!r}"
        raise ValueError(msg)
    return seconds


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that holds endpoint.json, the lock and the store. It need not exist.

    `WEAVELET_HOME` itself where that is set, else a folder per host in the platform's state
    directory, since a home directory may be shared between hosts.
    """
    if given := environ.get("WEAVELET_HOME"):
        return Path(given).expanduser().absolute()
    import platformdirs  # noqa: PLC0415  the trainer's import must not pay for it

    return Path(platformdirs.user_state_dir("weavelet")) / slugify(socket.gethostname())


def read_endpoint(folder: Path) -> Endpoint | None:
    """The endpoint written by the `weavelet up` of this home, None if there is none to read.

    That it is written does not say that it still runs. One that another user has put there is none:
    in a folder that is open to others it would hand them this training.
    """
    try:
        with (folder / "endpoint.json").open("rb") as file:
            owner = os.fstat(file.fileno()).st_uid
            # Root may be a container's, and the home that of a user outside of it.
            if os.geteuid() not in (0, owner) and owner != 0:
                return None
            return msgspec.json.decode(file.read(), type=Endpoint)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def find_endpoint(folder: Path) -> Endpoint | None:
    """As `read_endpoint`, without one that a killed `weavelet up` has left behind.

    It is one only if this host can tell for sure: the process is gone, and so is its lock on the
    home. Elsewhere, and in a container that does not see the process, the file is believed.
    """
    endpoint = read_endpoint(folder)
    if endpoint is None or endpoint.host != socket.gethostname() or is_alive(endpoint):
        return endpoint
    return None if is_unlocked(folder / "lock") else endpoint


def is_alive(endpoint: Endpoint) -> bool:
    """Whether its process, and no later one of that number, lives on this host."""
    if endpoint.boot != boot_id():
        return False
    try:
        os.kill(endpoint.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return endpoint.birth in ("", process_birth(endpoint.pid))


def is_unlocked(path: Path) -> bool:
    """Whether nobody holds a lock on the file. False where that cannot be told."""
    import fcntl  # noqa: PLC0415  there is none on Windows, where a trainer runs all the same

    try:
        with path.open("rb") as file:
            # Let go of with the file; an `up` that starts just now waits for that.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def boot_id() -> str:
    """The kernel's id of this boot, empty where it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""

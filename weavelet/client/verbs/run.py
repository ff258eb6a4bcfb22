"""`weavelet run`."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter

from weavelet import settings
from weavelet.exceptions import CommandError

_NOT_EXECUTABLE = 126
_NOT_FOUND = 127


def run(
    *command: Annotated[
        str, Parameter(allow_leading_hyphen=True, help="The command and its arguments, after --.")
    ],
    run: Annotated[
        str | None, Parameter(name="--run", help="Name of the run; default: the script's name.")
    ] = None,
) -> NoReturn:
    """Run a command, and steer the PyTorch training in it and in all that it starts.

    This process becomes the command: its output, exit code and signals are its own.
    """
    if not command:
        msg = "expected a command: weavelet run [--run NAME] -- python train.py ..."
        raise CommandError("usage", msg, exit_code=2)
    environment = _environment(os.environ, _hook())
    if run is not None:
        environment["WEAVELET_RUN"] = _slug(run)
    sys.stdout.flush()
    # Python ignores these two, and who ignores a signal hands that down.
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606  the user's own command
    except FileNotFoundError as error:
        hint = _interpreted(command[0]) if Path(command[0]).is_file() else ""
        msg = f"there is no command {command[0]!r}{hint}"
        raise CommandError("usage", msg, exit_code=_NOT_FOUND) from error
    except OSError as error:
        msg = f"cannot run {command[0]!r} ({error.strerror}){_interpreted(command[0])}"
        raise CommandError("usage", msg, exit_code=_NOT_EXECUTABLE) from error


def _interpreted(script: str) -> str:
    return f"; a script is run by its interpreter: weavelet run -- python {shlex.quote(script)}"


def _hook() -> Path:
    """The folder of the sitecustomize that steers."""
    spec = find_spec("weavelet.integrations")
    if spec is None or spec.origin is None:
        msg = "weavelet.integrations is missing from this installation; install it anew"
        raise CommandError("unavailable", msg)
    return Path(spec.origin).with_name("untouched")


def _environment(given: Mapping[str, str], hook: Path) -> dict[str, str]:
    """With the hook in front of PYTHONPATH, which every Python in the command looks at."""
    path = given.get("PYTHONPATH")
    # An empty one between two others is the working directory, and stays that.
    folders = [folder for folder in path.split(os.pathsep) if folder != str(hook)] if path else []
    return {**given, "PYTHONPATH": os.pathsep.join([str(hook), *folders])}


def _slug(run: str) -> str:
    try:
        return settings.check_slug("--run", run)
    except ValueError as error:
        raise CommandError("usage", str(error), exit_code=2) from error

"""`weavelet export`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from weavelet.client.client import Client
from weavelet.client.options import Job
from weavelet.client.record import lines
from weavelet.exceptions import CommandError


def export(
    run: str,
    /,
    *,
    job: Job = None,
    output: Annotated[
        Path | None, Parameter(name=("--output", "-o"), help="File to write; default: print.")
    ] = None,
) -> None:
    """Write what was applied to a run as JSON lines, for session(replay=FILE)."""
    with Client() as client:
        text = "".join(f"{line}\n" for line in lines(client.log(run, job)))
    if output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    partial = output.with_name(f"{output.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, "utf-8")
        partial.replace(output)
    except OSError as error:
        partial.unlink(missing_ok=True)
        msg = f"{output} cannot be written: {error.strerror or error}"
        raise CommandError("unwritable", msg) from error

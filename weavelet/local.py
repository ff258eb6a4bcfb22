"""`weavelet up` from a notebook or a script: the same server, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from weavelet import settings
from weavelet.exceptions import CommandError


@dataclass(frozen=True)
class LocalServer:
    """A server on this machine that `up` has started, or found running.

    `url` is the address of its page, `link` the same with the operator's token: whoever has that
    may command. Shown as the last value of a notebook's cell it is a link to click. The link is
    stored in the notebook then; share the notebook without it.
    """

    url: str
    link: str = field(repr=False)
    viewer_link: str = field(repr=False)
    pid: int
    home: Path

    def down(self) -> None:
        """Stop the server; training goes on without it. Does nothing where it is down already.

        Raises:
            CommandError: it does not stop.
        """
        _weavelet("down", f"--home={self.home}")

    def _repr_html_(self) -> str:
        import html  # noqa: PLC0415  a trainer's import must not pay for it

        link, url = html.escape(self.link), html.escape(self.url)
        return f'<a href="{link}" target="_blank" rel="noopener noreferrer">weavelet: {url}</a>'


def up(
    *,
    port: int = 0,
    home: str | os.PathLike[str] | None = None,
    rules: Sequence[str | os.PathLike[str]] = (),
) -> LocalServer:
    """Start the server on this machine in the background, as `weavelet up --detach` does.

    One that runs in this home already is returned as it is, with its own rules. `port` 0 is the
    last one used, or any free one; `home` is by default the one in which sessions look; `rules` are
    files of rules. The server goes on when this process ends: use `down()` of what is returned, or
    `weavelet down`.

    Raises:
        CommandError: it cannot be started, or is not installed; the text says why and what to do.
    """
    folder = Path(home).expanduser().absolute() if home is not None else settings.home()
    files = [f"--rules={Path(path).expanduser().absolute()}" for path in rules]
    said = _weavelet("up", "--detach", f"--port={port}", f"--home={folder}", *files)
    return LocalServer(said["url"], said["link"], said["viewer_link"], said["pid"], folder)


def _weavelet(*arguments: str) -> Any:
    # Not in this folder: what lies in it would come before the installed modules.
    command = [sys.executable, "-m", "weavelet.client.cli", *arguments, "--json"]
    done = subprocess.run(
        command, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    try:
        said = msgspec.json.decode(done.stdout)
    except msgspec.DecodeError:
        msg = f"`weavelet {arguments[0]}` ended with exit code {done.returncode}: {done.stderr}"
        raise CommandError("failed", msg) from None
    if "error" in said:
        error = said["error"]
        raise CommandError(error["code"], error["text"], known=error["known"])
    return said

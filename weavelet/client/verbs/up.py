"""`weavelet up`."""

from __future__ import annotations

import asyncio
import http
import logging
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from weavelet import settings
from weavelet.client import output
from weavelet.client.address import link
from weavelet.client.options import HomeFolder, Json
from weavelet.exceptions import CommandError
from weavelet.settings import Endpoint

_START_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_LOG_TAIL_LINES = 15
_NATS_URL = "WEAVELET_UP_NATS_URL"
_REPEATED = {"allow_hosts": "allow-host", "rules": "rules"}


def up(
    *,
    port: Annotated[int | None, Parameter(help="Of the page; 0 for any free one [8080].")] = None,
    detach: Annotated[bool, Parameter(help="Run in the background; return when up.")] = False,
    home: HomeFolder = None,
    store: Annotated[Path | None, Parameter(help="Folder, on a local disk, for the log.")] = None,
    host: Annotated[str, Parameter(help="Address to listen on [127.0.0.1].")] = "127.0.0.1",
    allow_host: Annotated[
        tuple[str, ...], Parameter(help="Name by which browsers may also reach it.")
    ] = (),
    certificate: Annotated[Path | None, Parameter(help="TLS certificate, PEM.")] = None,
    key: Annotated[Path | None, Parameter(help="Its key, PEM.")] = None,
    insecure: Annotated[bool, Parameter(help="Listen on other addresses without TLS.")] = False,
    nats_url: Annotated[
        str | None,
        Parameter(
            help="Use this NATS server, start none. A URL with a password is better kept in "
            f"{_NATS_URL}, where other users do not see it."
        ),
    ] = None,
    creds: Annotated[Path | None, Parameter(help="Credentials file for it.")] = None,
    replicas: Annotated[int, Parameter(help="Servers of its cluster that keep a copy [1].")] = 1,
    rules: Annotated[
        tuple[Path, ...],
        Parameter(help="Python file with rules that steer; may be given several times."),
    ] = (),
    json: Json = False,
) -> None:
    """Start the server and its page on this machine; until Ctrl-C, or in the background.

    Prints the link to the page; another one is for those who may look but not command.
    """
    # Lazily: the weaver's parts take time that the other verbs do not have.
    from weavelet.weaver.home import AlreadyUpError, running  # noqa: PLC0415
    from weavelet.weaver.rulebook import load_all  # noqa: PLC0415
    from weavelet.weaver.service import Options, serve  # noqa: PLC0415

    # Before anything is started, in the foreground too where it goes on in the background.
    loaded = load_all(rules := tuple(path.expanduser().absolute() for path in rules))
    names = [rule.name for rule in loaded]
    folder = (home or settings.home()).expanduser().absolute()
    if (endpoint := running(folder)) is not None:
        _tell(endpoint, "Already up", json=json)
        if rules:
            text = "It is up already, with the rules that it has: `weavelet down` first for these."
            output.say(text, error=True)
            raise SystemExit(1)
        return None
    options = Options(
        home=folder,
        port=port,
        host=host,
        store=_absolute(store),
        nats_url=nats_url or os.environ.get(_NATS_URL) or None,
        creds=str(_absolute(creds) or "") or None,
        replicas=replicas,
        allow_hosts=allow_host,
        certificate=_absolute(certificate),
        key=_absolute(key),
        insecure=insecure,
        rules=rules,
    )
    if detach:
        endpoint = _start_detached(folder, msgspec.structs.asdict(options))
        return _tell(endpoint, "Up, in the background", names, json=json)
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("weavelet").setLevel(logging.INFO)
    try:
        asyncio.run(
            serve(options, started=lambda endpoint: _tell(endpoint, "Up", names, json=json))
        )
    except AlreadyUpError as error:
        _tell(error.endpoint, "Already up", json=json)
    return None


def _absolute(path: Path | None) -> Path | None:
    return path.expanduser().absolute() if path else None


def _tell(endpoint: Endpoint, what: str, rules: Sequence[str] = (), *, json: bool) -> None:
    page = link(endpoint.http_url, endpoint.token)
    viewer = link(endpoint.http_url, endpoint.viewer_token)
    if json:
        told = {"url": endpoint.http_url, "link": page, "viewer_link": viewer}
        output.print_json({**told, "pid": endpoint.pid, "host": endpoint.host})
    else:
        of_rules = f"\nRules: {', '.join(rules)}" if rules else ""
        output.say(f"{what}: {page}\nTo look only: {viewer}{of_rules}")


def _start_detached(folder: Path, options: Mapping[str, Any]) -> Endpoint:
    """The same `up` once more, in the background and in a session of its own.

    Raises:
        CommandError: it ends, or is not up in time; the text holds the end of its log.
    """
    log = folder / "up.log"
    arguments, environment = _arguments(options)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Others may have been in this folder before us: no link of theirs is followed.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(log, flags, 0o600), "wb") as out:
            # Not in a user's folder: what lies there would come before the installed modules.
            process = subprocess.Popen(
                [sys.executable, "-m", "weavelet.client.cli", "up", *arguments],
                cwd="/",
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
    except OSError as error:
        msg = f"Cannot write to {folder}: {error.strerror}. Set WEAVELET_HOME to another folder."
        raise CommandError("unavailable", msg) from error
    return _wait_until_up(process, folder, log)


def _wait_until_up(process: subprocess.Popen[bytes], folder: Path, log: Path) -> Endpoint:
    until = time.monotonic() + _START_SECONDS
    ended = False
    while not ended and time.monotonic() < until:
        ended = process.poll() is not None
        endpoint = settings.read_endpoint(folder)
        # One that ended well found another one up that was started at the same time.
        ours = endpoint is not None and (endpoint.pid == process.pid or process.returncode == 0)
        if endpoint is not None and ours and _healthy(endpoint):
            return endpoint
        time.sleep(_LOOK_SECONDS)
    why = "It ended" if ended else f"It is not up after {_START_SECONDS:g} s"
    process.terminate()
    lines = log.read_text("utf-8", "replace").splitlines()[-_LOG_TAIL_LINES:]
    raise CommandError("failed", "\n".join([f"{why}. Its log, {log}, says:", *lines]))


def _arguments(options: Mapping[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The options as a command line, and as variables what others must not read there."""
    arguments, environment = [], {}
    for name, value in options.items():
        if isinstance(value, tuple):
            arguments += [f"--{_REPEATED[name]}={one}" for one in value]
        elif isinstance(value, bool):
            arguments += [f"--{name}"] if value else []
        elif name == "nats_url" and value is not None:
            environment[_NATS_URL] = value
        elif value is not None:
            arguments.append(f"--{name.replace('_', '-')}={value}")
    return arguments, environment


def _healthy(endpoint: Endpoint) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint.http_url}/healthz", timeout=2):
            return True
    except urllib.error.HTTPError as error:
        return error.code != http.HTTPStatus.SERVICE_UNAVAILABLE
    except urllib.error.URLError as error:
        # A certificate that this host does not know is a matter for its clients.
        return isinstance(error.reason, ssl.SSLError)
    except OSError:
        return False

"""`weavelet doctor`."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
import msgspec

from weavelet import settings
from weavelet.client import address, output
from weavelet.client.connection import Connection
from weavelet.client.options import Json
from weavelet.exceptions import CommandError
from weavelet.settings import Endpoint
from weavelet.weaver import protocol

_OLDEST_PYTHON = (3, 10)
_SECONDS = 5.0


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at. `FAIL` is needed and missing, `warn` can be lived with."""

    name: str
    verdict: Literal["ok", "warn", "FAIL"]
    text: str


def doctor(*, json: Json = False) -> int:
    """Check what is needed and whether it works; exit code 1 if something needed is missing."""
    checks = [*_installed(), *_home(), *asyncio.run(_reachable()), *_optional()]
    if json:
        output.print_json({"checks": checks})
    else:
        print(
            output.table(("", "", ""), [(c.verdict, c.name, c.text) for c in checks]).lstrip("\n")
        )
    return 1 if any(check.verdict == "FAIL" for check in checks) else 0


def _installed() -> Iterator[Check]:
    text = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < _OLDEST_PYTHON:
        yield Check("Python", "FAIL", f"{text}; at least 3.10 is needed")
    else:
        yield Check("Python", "ok", text)
    yield Check("weavelet", "ok", importlib.metadata.version("torchloom-weavelet"))
    from weavelet.weaver import nats_server  # noqa: PLC0415  the weaver's parts on demand

    try:
        binary = nats_server.find()
        yield Check("nats-server", "ok", f"{nats_server.check_version(binary)} at {binary}")
    except CommandError as error:
        yield Check("nats-server", "FAIL", error.text)


def _home() -> Iterator[Check]:
    folder = settings.home()
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if os.access(nearest, os.W_OK | os.X_OK) and nearest.is_dir():
        yield Check("home", "ok", f"{folder}" + ("" if nearest == folder else " (not made yet)"))
    else:
        text = f"{folder}: cannot write to {nearest}; set WEAVELET_HOME to a folder of your own"
        yield Check("home", "FAIL", text)
    endpoint = _running(folder)
    if endpoint is not None:
        yield Check("up", "ok", f"process {endpoint.pid} on {endpoint.host}")
    elif os.environ.get("WEAVELET_URL"):
        yield Check("up", "ok", "not here; WEAVELET_URL names a weaver elsewhere")
    else:
        yield Check("up", "warn", "nothing is up here; start it with `weavelet up`")


def _running(folder: Path) -> Endpoint | None:
    from weavelet.weaver.home import running  # noqa: PLC0415  as above

    return running(folder)


async def _reachable() -> list[Check]:
    endpoint = settings.find_endpoint(settings.home())
    checks = []
    try:
        found = address.find()
    except CommandError as error:
        if error.code == "invalid_value":
            checks.append(Check("weaver", "FAIL", error.text))
    else:
        checks += [await _healthy(found), await _admitted(found)]
    nats = os.environ.get("WEAVELET_NATS_URL") or (endpoint.nats_url if endpoint else "")
    if nats:
        checks.append(await _nats(nats))
    return checks


async def _healthy(found: address.Address) -> Check:
    url = f"{found.url}/healthz"
    try:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            if answer.ok:
                return Check("weaver", "ok", found.url)
            text = f"{found.url} is not well: HTTP {answer.status} {(await answer.text())[:200]}"
    except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
        text = (
            f"nothing answers at {found.url} (from {found.source}): {_why(error)}; "
            "start it with `weavelet up`"
        )
    return Check("weaver", "FAIL", text)


async def _admitted(found: address.Address) -> Check:
    try:
        connection = await Connection.open(found)
    except CommandError as error:
        return Check("token", "FAIL", error.text)
    try:
        request = protocol.Subscribe(id="", runs=["-"])
        snapshot = await asyncio.wait_for(connection.ask_once(request, protocol.Snapshot), _SECONDS)
    except (CommandError, asyncio.TimeoutError) as error:
        return Check("token", "FAIL", f"the weaver does not answer: {_why(error)}")
    finally:
        await connection.close()
    if snapshot.version != protocol.VERSION:
        text = (
            f"the weaver speaks version {snapshot.version}, this client {protocol.VERSION}; "
            "install the same torchloom-weavelet on both sides"
        )
        return Check("token", "FAIL", text)
    return Check("token", "ok", f"accepted as {snapshot.role}")


async def _nats(url: str) -> Check:
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    place = f"{parts.hostname}:{parts.port or 4222}"
    try:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(parts.hostname, parts.port or 4222), _SECONDS
        )
        try:
            greeting = await asyncio.wait_for(reader.readline(), _SECONDS)
        finally:
            writer.close()
    except (OSError, ValueError, asyncio.TimeoutError) as error:
        return Check("NATS", "FAIL", f"{place}: {_why(error)}; sessions train on, without control")
    if greeting.startswith(b"INFO "):
        return Check("NATS", "ok", place)
    return Check("NATS", "FAIL", f"{place} does not answer as a NATS server")


def _why(error: Exception) -> str:
    return str(error) or "no answer in time"


def _optional() -> Iterator[Check]:
    try:
        yield Check("torch", "ok", importlib.metadata.version("torch"))
    except importlib.metadata.PackageNotFoundError:
        text = "not installed; only the training and `weavelet demo` need it"
        yield Check("torch", "warn", text)
    driver = Path("/proc/driver/nvidia/version")
    if driver.exists() or shutil.which("nvidia-smi"):
        yield Check("NVIDIA driver", "ok", _first_line(driver))
    else:
        yield Check("NVIDIA driver", "warn", "none; vitals then cover CPU and memory only")


def _first_line(path: Path) -> str:
    try:
        return path.read_text().partition("\n")[0]
    except OSError:
        return "found"

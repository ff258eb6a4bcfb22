"""`weavelet watch`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from weavelet.client import output
from weavelet.client.alarms import alarms, alarms_of_rules
from weavelet.client.client import Client, Update
from weavelet.client.fleet import Fleet
from weavelet.client.options import Job, Json
from weavelet.exceptions import CommandError
from weavelet.weaver import protocol

if TYPE_CHECKING:
    from rich.console import RenderableType

_RETRY_SECONDS = 1.0
_LINE_SECONDS = 1.0
_SHOWN_ENTRIES = 8
_SHOW_CURSOR = b"\x1b[?25h\n"
_INTERRUPTED = 130


def watch(run: str, /, *, job: Job = None, json: Json = False) -> None:
    """Follow a run as it trains, until Ctrl-C."""
    signal.signal(signal.SIGINT, _end)
    with Client() as client:
        client.job(run, job)
        with closing(_following(client, run)) as updates:
            if json:
                for update in updates:
                    output.print_json(update)
            elif sys.stdout.isatty():
                _live(updates, run, job)
            else:
                _lines(updates, job)


def _end(number: int, frame: object) -> None:
    """End at once, at Ctrl-C.

    There is nothing to be saved, and an exception in the midst of a hand-over between threads, or
    of a connection being made, would leave something behind that complains at the very end.
    """
    with suppress(OSError, RuntimeError):
        sys.stdout.flush()
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), _SHOW_CURSOR)
    os._exit(_INTERRUPTED)


def _following(client: Client, run: str) -> Generator[Update, None, None]:
    """Every update, over restarts of the server."""
    while True:
        try:
            yield from client.watch([run])
        except CommandError as error:
            if error.code != "unavailable":
                raise
            output.say(f"weavelet: {error.text} Trying again.", error=True)
        while not _answers(client, run):
            time.sleep(_RETRY_SECONDS)


def _answers(client: Client, run: str) -> bool:
    try:
        client.jobs([run])
    except CommandError as error:
        if error.code != "unavailable":
            raise
        return False
    return True


def _lines(updates: Iterator[Update], job: str | None) -> None:
    fleet = Fleet()
    told: dict[str, tuple[str, int | None, float]] = {}
    warned: set[str] = set()
    for update in updates:
        fleet.update(update)
        warnings = _alarms(fleet, job)
        for line in warnings:
            if line not in warned:
                output.say(f"{output.clock(time.time())}  {line}")
        warned = set(warnings)
        if isinstance(update, protocol.EntryUpdate):
            output.say(entry_line(update))
        now = time.monotonic()
        for replica in _replicas(fleet, job):
            state, step, at = told.get(replica.incarnation, ("", None, 0.0))
            is_due = replica.step != step and now - at >= _LINE_SECONDS
            if replica.state != state or is_due:
                told[replica.incarnation] = (replica.state, replica.step, now)
                output.say(f"{output.clock(time.time())}  {replica_line(replica)}")


def _live(updates: Iterator[Update], run: str, job: str | None) -> None:
    from rich.live import Live  # noqa: PLC0415

    fleet = Fleet()
    entries: dict[str, protocol.EntryUpdate] = {}
    with Live(auto_refresh=False, screen=False) as live:
        for update in updates:
            fleet.update(update)
            if isinstance(update, protocol.EntryUpdate):
                entries[update.entry.id] = update
            shown = list(entries.values())[-_SHOWN_ENTRIES:]
            live.update(_picture(run, fleet, job, shown), refresh=True)


def _picture(
    run: str, fleet: Fleet, job: str | None, entries: list[protocol.EntryUpdate]
) -> RenderableType:
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=run, title_justify="left", box=None, pad_edge=False)
    devices = {device.id: device for device in fleet.devices}
    columns: tuple[tuple[str, Callable[[protocol.ReplicaView], str]], ...] = (
        ("replica", lambda replica: replica.replica),
        ("state", output.state_text),
        ("step", lambda replica: output.step_text(replica.step)),
        ("rate", output.rate_text),
        ("device", lambda replica: _devices_text(replica, devices)),
        ("dropped", lambda replica: str(replica.dropped or "")),
        ("metrics", lambda replica: output.metrics_text(replica.metrics)),
    )
    for name, _ in columns:
        table.add_column(name)
    for each in _jobs(fleet, job):
        for replica in each.replicas:
            table.add_row(*(Text(cell(replica)) for _, cell in columns))
    lines = [*_alarms(fleet, job), *map(entry_line, entries)]
    return Group(table, *map(Text, lines))


def _devices_text(replica: protocol.ReplicaView, devices: Mapping[str, protocol.DeviceView]) -> str:
    """`cpu-host`, or of each GPU `93 % 71 C 61 of 80 GB`."""
    used = [devices[name] for name in replica.devices if name in devices]
    return ", ".join(map(output.device_text, used)) or replica.device


def _alarms(fleet: Fleet, job: str | None) -> list[str]:
    found = [
        f"frozen by {each.frozen_by}: it refuses everything but stop and unfreeze"
        for each in _jobs(fleet, job)
        if each.frozen_by
    ]
    for each in _jobs(fleet, job):
        found += alarms(each)
    return [*found, *alarms_of_rules(fleet.rules)]


def _jobs(fleet: Fleet, job: str | None) -> list[protocol.JobView]:
    return [each for each in fleet.jobs if each.job == job or (job is None and each.newest)]


def _replicas(fleet: Fleet, job: str | None) -> list[protocol.ReplicaView]:
    return [replica for each in _jobs(fleet, job) for replica in each.replicas]


def replica_line(replica: protocol.ReplicaView) -> str:
    """`trainer-0  running  step 812  61.2/s  loss 0.31`."""
    parts = [replica.replica, output.state_text(replica)]
    parts += [f"step {replica.step}"] if replica.step is not None else []
    parts += [output.rate_text(replica), output.metrics_text(replica.metrics)]
    parts += [replica.reason or ""]
    return "  ".join(filter(None, parts))


def entry_line(update: protocol.EntryUpdate) -> str:
    """`13:02:11  set lr=0.01  applied  trainer-0 applied at step 812  lr 0.1 -> 0.01`."""
    parts = [output.clock(update.entry.time), output.entry_text(update.entry)]
    parts.append(output.fate_text(update))
    if update.settled:
        parts += [
            f"{outcome.replica} {output.outcome_text(outcome)}" for outcome in update.outcomes
        ]
    return "  ".join(parts)

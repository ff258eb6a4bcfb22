"""From a client's command to an entry of the control log, checked as far as the weaver can.

Pure. What is refused here never enters the log; the trainer has the last word on the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from weavelet.exceptions import CommandError
from weavelet.messages import (
    Act,
    Body,
    ControlSpec,
    Entry,
    Freeze,
    Pause,
    Resume,
    Set,
    Stop,
    Unfreeze,
)
from weavelet.weaver import protocol
from weavelet.weaver.fleet import Fleet
from weavelet.weaver.lives import Job
from weavelet.weaver.schemas import checked

DEADLINE = 60.0
"""Seconds that a command has by default; one for a later step has no end by default."""


def entry_for(
    command: protocol.Command, fleet: Fleet, *, entry_id: str, author: str, now: float
) -> tuple[Job, Entry]:
    """The job that a command goes to, and the entry to append to its control log.

    Raises:
        CommandError: it names what is not there, sets what does not fit, or the job is frozen.
    """
    job = fleet.find(command.run, command.job, now)
    _check_frozen(command, job)
    _check_times(command)
    addressed: tuple[str, ...] = ()
    if not isinstance(command, (protocol.Freeze, protocol.Unfreeze)):
        addressed = fleet.addressed(job, command.replicas, now)
    return job, Entry(
        id=entry_id,
        author=author,
        body=_body(command, job, addressed),
        targets=tuple(dict.fromkeys(command.replicas)),
        addressed=addressed,
        at_step=command.at_step,
        deadline=_deadline(command),
    )


def _check_frozen(command: protocol.Command, job: Job) -> None:
    if job.frozen_by is None or isinstance(command, (protocol.Stop, protocol.Unfreeze)):
        return
    raise CommandError(
        "frozen",
        f"job {job.name!r} of run {job.run!r} was frozen by {job.frozen_by}: "
        "only stop and unfreeze are accepted",
    )


def _check_times(command: protocol.Command) -> None:
    if command.at_step is not None and command.at_step < 0:
        text = f"at_step: expected an integer >= 0, got {command.at_step!r}"
        raise CommandError("invalid_value", text)
    _check_seconds("deadline", command.deadline)
    if isinstance(command, protocol.Pause):
        _check_seconds("lease", command.lease)


def _check_seconds(name: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value > 0):
        text = f"{name}: expected seconds > 0, got {value!r}"
        raise CommandError("invalid_value", text)


def _deadline(command: protocol.Command) -> float | None:
    if command.deadline is None and command.at_step is None:
        return DEADLINE
    return command.deadline


def _body(command: protocol.Command, job: Job, addressed: Sequence[str]) -> Body:
    match command:
        case protocol.UpdateConfig():
            return _set(command, job, addressed)
        case protocol.Action():
            specs = _specs(job, addressed, command.name, "action")
            return Act(command.name, _checked(command.name, command.arguments, specs))
        case protocol.Pause():
            return Pause(command.lease)
        case protocol.Resume():
            return Resume()
        case protocol.Stop():
            return Stop(command.reason)
        case protocol.Freeze():
            return Freeze(command.reason)
        case protocol.Unfreeze():
            return Unfreeze()
    text = f"not a command: {command!r}"
    raise TypeError(text)


def _set(command: protocol.UpdateConfig, job: Job, addressed: Sequence[str]) -> Set:
    if not command.values:
        raise CommandError("invalid_value", "values: expected at least one control, got none")
    return Set(
        {
            name: _checked(name, value, _specs(job, addressed, name, "control"))
            for name, value in command.values.items()
        },
        {
            name: _checked(name, value, _specs(job, addressed, name, "control"))
            for name, value in command.expect.items()
        },
        command.dry_run,
    )


def _checked(name: str, value: Any, specs: Iterable[ControlSpec]) -> Any:
    # Replicas with schemas of their own may each have a say; identical ones are checked once.
    for schema in dict.fromkeys(spec.schema for spec in specs):
        value = checked(name, value, schema)
    return value


def _specs(
    job: Job, addressed: Sequence[str], name: str, kind: Literal["control", "action"]
) -> list[ControlSpec]:
    registered = [spec for replica in addressed for spec in job.replicas[replica].current.controls]
    found = [spec for spec in registered if spec.name == name and spec.kind == kind]
    if found:
        return found
    known = sorted({spec.name for spec in registered if spec.kind == kind})
    other = next((spec.kind for spec in registered if spec.name == name), None)
    text = f"no {kind} named {name!r}"
    if other is not None:
        article = "an action" if other == "action" else "a control"
        text = f"{name!r} is {article}, not {'a control' if kind == 'control' else 'an action'}"
    elif not known:
        text = f"no {kind} named {name!r}: the replicas have registered none yet"
    raise CommandError("unknown_control", text, known=known)

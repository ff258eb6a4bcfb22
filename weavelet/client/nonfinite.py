"""Non-finite floats as the WebSocket carries them: "NaN", "Infinity", "-Infinity"."""

from __future__ import annotations

import math
from typing import Any

from msgspec.structs import replace

from weavelet.weaver import protocol

_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def restore(value: Any) -> Any:
    """The reverse of `protocol.to_json`."""
    if isinstance(value, str):
        return _FLOATS.get(value, value)
    if isinstance(value, dict):
        return {key: restore(item) for key, item in value.items()}
    if isinstance(value, list):
        return [restore(item) for item in value]
    return value


def restore_message(message: protocol.ServerMessage) -> protocol.ServerMessage:
    """The message with floats again where values and metrics held their words."""
    match message:
        case protocol.Snapshot():
            return replace(message, jobs=[_job(job) for job in message.jobs])
        case protocol.StatusUpdate():
            return replace(message, replicas=[_replica(item) for item in message.replicas])
        case protocol.Metrics():
            return replace(message, columns=restore(message.columns))
        case protocol.EntryUpdate():
            return _entry(message)
        case protocol.Log():
            return replace(message, entries=[_entry(item) for item in message.entries])
        case _:
            return message


def _job(job: protocol.JobView) -> protocol.JobView:
    return replace(job, replicas=[_replica(item) for item in job.replicas])


def _replica(replica: protocol.ReplicaView) -> protocol.ReplicaView:
    controls = [
        control
        if control.schema.get("type") == "string"
        else replace(control, value=restore(control.value))
        for control in replica.controls
    ]
    return replace(replica, metrics=restore(replica.metrics), controls=controls)


def _entry(update: protocol.EntryUpdate) -> protocol.EntryUpdate:
    outcomes = [
        replace(
            outcome,
            changes=[
                protocol.ChangeView(change.name, restore(change.old), restore(change.new))
                for change in outcome.changes
            ],
            result=restore(outcome.result),
        )
        for outcome in update.outcomes
    ]
    entry = replace(update.entry, body=restore(update.entry.body))
    return replace(update, entry=entry, outcomes=outcomes)

"""A job's control log as the record of what was applied: the lines that a replay reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from weavelet.client.output import as_json
from weavelet.messages import RECORD_VERSION, Recorded, RecordedAct, RecordedChange, RecordedSet
from weavelet.weaver import protocol


def lines(log: Iterable[protocol.EntryUpdate]) -> Iterator[str]:
    """One line of JSON for each entry on each replica that applied it, in the log's order."""
    for update in log:
        for outcome in update.outcomes:
            record = _record(update.entry, outcome)
            if record is not None:
                yield as_json(record)


def _record(entry: protocol.EntryView, outcome: protocol.OutcomeView) -> Recorded | None:
    if outcome.outcome != "applied" or outcome.step is None or entry.kind not in ("set", "act"):
        return None
    place: dict[str, Any] = {
        "version": RECORD_VERSION,
        "run": entry.run,
        "job": entry.job,
        "replica": outcome.replica,
        "incarnation": outcome.incarnation,
        "sequence": entry.sequence,
        "entry": entry.id,
        "author": entry.author,
        "time": entry.time,
        "step": outcome.step,
        "adopted": outcome.adopted,
    }
    if entry.kind == "act":
        return RecordedAct(
            **place, action=entry.body["name"], arguments=entry.body.get("arguments", {})
        )
    return RecordedSet(
        **place,
        values=entry.body["values"],
        changes=tuple(
            RecordedChange(change.name, change.old, change.new) for change in outcome.changes
        ),
    )

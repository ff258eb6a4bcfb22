"""From what the weaver holds to what its clients see. Non-finite floats become their names."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from weavelet.exceptions import CommandError
from weavelet.messages import ControlSpec, Entry, Outcome, ReportBatch
from weavelet.weaver.protocol import (
    ChangeView,
    ControlView,
    EntryView,
    Metrics,
    OutcomeView,
    to_json,
)
from weavelet.weaver.schemas import checked, parse


def control_view(spec: ControlSpec) -> ControlView:
    """A control or an action, with its schema as data."""
    return ControlView(
        name=spec.name,
        kind=spec.kind,
        schema=parse(spec.schema),
        unit=spec.unit,
        doc=spec.doc,
        danger=spec.danger,
        idempotent=spec.idempotent,
        quarantined=spec.quarantined,
        value=_value(spec),
    )


def _value(spec: ControlSpec) -> Any:
    # None stands for null, and for what cannot be read; the schema tells which it may be.
    if spec.value is not None:
        return to_json(spec.value)
    if spec.kind == "action":
        return msgspec.UNSET
    try:
        return checked(spec.name, None, spec.schema)
    except CommandError:
        return msgspec.UNSET


def outcome_view(outcome: Outcome) -> OutcomeView:
    """What became of an entry on one replica."""
    return OutcomeView(
        replica=outcome.replica,
        outcome=outcome.kind,
        step=outcome.step,
        changes=[
            ChangeView(one.name, to_json(one.old), to_json(one.new)) for one in outcome.changes
        ],
        reason=outcome.reason,
        result=to_json(outcome.result),
        traceback=outcome.traceback,
        adopted=outcome.adopted,
        incarnation=outcome.incarnation,
        config_hash=outcome.state,
    )


def entry_view(run: str, job: str, entry: Entry, sequence: int, time: float) -> EntryView:
    """An entry; `body` holds the fields of its kind."""
    return EntryView(
        id=entry.id,
        sequence=sequence,
        run=run,
        job=job,
        kind=kind_of(entry),
        author=entry.author,
        time=time,
        body=to_json(msgspec.structs.asdict(entry.body)),
        targets=list(entry.targets),
        addressed=list(entry.addressed),
        at_step=entry.at_step,
        deadline=entry.deadline,
    )


def kind_of(entry: Entry) -> str:
    """The entry's word in the control log: `set`, `act`, `pause`, ..."""
    tag: Any = entry.body.__struct_config__.tag
    return str(tag)


def metrics_message(run: str, job: str, batch: ReportBatch) -> Metrics:
    """The samples of one replica, by column."""
    return Metrics(
        run=run,
        job=job,
        replica=batch.replica,
        steps=list(batch.steps),
        at=[shown_time(at) for at in batch.at],
        columns={name: to_json(column) for name, column in batch.columns.items()},
        incarnation=batch.incarnation,
        first=batch.first,
    )


def shown_time(at: float) -> float:
    """A sample's time, for display alone: no client would take the word for NaN as one."""
    return at if math.isfinite(at) else 0.0

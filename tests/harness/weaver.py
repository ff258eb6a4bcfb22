"""What the weaver's tests build their messages with."""

from __future__ import annotations

from weavelet.messages import (
    ControlSpec,
    Entry,
    Heartbeat,
    Identity,
    Lifecycle,
    Outcome,
    Registration,
    Set,
)

LR = ControlSpec(
    name="lr",
    kind="control",
    schema='{"type": "number", "exclusiveMinimum": 0, "maximum": 1}',
    value=0.1,
)
SAVE = ControlSpec(
    name="save",
    kind="action",
    schema=(
        '{"type": "object", "properties": {"path": {"type": "string"}},'
        ' "required": ["path"], "additionalProperties": false}'
    ),
)


def identity(replica="rank-0", *, run="train", job="j1", incarnation="a"):
    """Who a replica is."""
    return Identity(run=run, job=job, replica=replica, incarnation=incarnation, pid=1, host="host")


def registration(replica="rank-0", *, controls=(LR, SAVE), **who):
    """A replica's announcement."""
    return Registration(identity=identity(replica, **who), controls=controls)


def beat(replica="rank-0", *, incarnation="a", state="running", **more):
    """A heartbeat."""
    return Heartbeat(replica=replica, incarnation=incarnation, state=state, **more)


def lifecycle(state, replica="rank-0", *, incarnation="a", **more):
    """The end of an incarnation, or a conflict."""
    return Lifecycle(replica=replica, incarnation=incarnation, state=state, **more)


def outcome(entry, kind="applied", replica="rank-0", *, sequence=2, incarnation="a", **more):
    """What became of an entry."""
    return Outcome(
        entry=entry, sequence=sequence, replica=replica, incarnation=incarnation, kind=kind, **more
    )


def set_entry(entry="e1", addressed=("rank-0",), *, deadline=60.0, body=None, **more):
    """An entry that sets the learning rate."""
    return Entry(
        id=entry,
        author="ann@host",
        body=body if body is not None else Set({"lr": 0.5}),
        addressed=addressed,
        deadline=deadline,
        **more,
    )

"""One valid message of every kind that crosses the channel, the bus or the WebSocket."""

from __future__ import annotations

import math

from weavelet import messages as m
from weavelet.weaver import protocol as p

VALUE = {
    "a": [1, 2.5, True, None, "text", {"b": math.inf}],
    "n": -(2**63),
    "deep": [[[[{"x": [1]}]]]],
}
IDENTITY = m.Identity(
    run="train",
    job="job-1",
    replica="rank-0",
    incarnation="0123456789abcdef",
    pid=7,
    host="host",
    rank=0,
    local_rank=0,
    world_size=2,
)
SPEC = m.ControlSpec(name="lr", kind="control", schema='{"type": "number"}', value=0.1)
OUTCOME = m.Outcome(
    entry="e1",
    sequence=9,
    replica="rank-0",
    incarnation="0123456789abcdef",
    kind="applied",
    step=3,
    changes=(m.Change("lr", 0.1, VALUE),),
    result=VALUE,
    state="ff",
    order=4,
)
BODIES = (
    m.Begin(),
    m.Set({"lr": 0.5, "all": VALUE}, {"lr": 0.1}),
    m.Act("save", {"path": "x"}),
    m.Pause(2.0),
    m.Resume(),
    m.Stop("enough"),
    m.Freeze("demo"),
    m.Unfreeze(),
    m.Notice("device_failed", VALUE),
    m.Settled("e1", 9, (OUTCOME,)),
)
ENTRIES = tuple(
    m.Entry(
        id="e1", author="ann", body=body, targets=("rank-0",), addressed=("rank-0",), deadline=60.0
    )
    for body in BODIES
)
POSITION = m.Position("epoch", 9)
SAMPLE = m.Sample(3, 1.5, {"loss": math.nan, "note": "x", "flag": True})
FROM_TRAINER = (
    m.Hello(identity=IDENTITY, controls=(SPEC,), position=POSITION),
    m.Controls((SPEC,)),
    m.Started("e1", 9),
    m.Known(9),
    m.Decided(OUTCOME),
    m.Reports(5, (SAMPLE, SAMPLE)),
    m.Section("checkpoint", 5.0),
    m.Bye(False, "ValueError: x"),
)
FROM_SIDECAR = (
    *(m.Deliver(entry, POSITION, 12.5) for entry in ENTRIES),
    m.Kept(9),
    m.Refused("another one lives"),
)
ON_THE_BUS = (
    *ENTRIES,
    m.Registration(identity=IDENTITY, controls=(SPEC,)),
    OUTCOME,
    m.Lifecycle(replica="rank-0", incarnation="a", state="crashed", step=3, reason="x"),
    m.Heartbeat(
        replica="rank-0",
        incarnation="a",
        state="running",
        step=3,
        vitals={"x": 1.0},
        devices=(m.Device(id="GPU-a", kind="gpu", power_watts=300.0),),
    ),
    m.ReportBatch(
        replica="rank-0",
        incarnation="a",
        first=5,
        steps=(3, 4),
        at=(1.0, 2.0),
        columns={"loss": (math.nan, 1.0), "note": ("x", None)},
    ),
    m.External(source="nagios", kind="device_failed", host="h", detail=VALUE),
)
REPLICA = p.ReplicaView(
    run="train",
    job="job-1",
    replica="rank-0",
    incarnation="a",
    state="running",
    step=3,
    metrics={"loss": "NaN"},
    controls=[p.ControlView(name="lr", kind="control", schema={"type": "number"}, value=0.1)],
)
UPDATE = p.EntryUpdate(
    id="2",
    entry=p.EntryView(
        id="e1",
        sequence=9,
        run="train",
        job="job-1",
        kind="set",
        author="ann",
        time=1.5,
        body={"values": {"lr": "Infinity"}},
    ),
    state="applied",
    settled=True,
    outcomes=[
        p.OutcomeView(replica="rank-0", outcome="applied", changes=[p.ChangeView("lr", 1, 2)])
    ],
)
JOB = p.JobView(run="train", job="job-1", live=True, newest=True, begun=1.5, replicas=[REPLICA])
FROM_WEAVER = (
    p.Snapshot(id="1", jobs=[JOB]),
    p.StatusUpdate(jobs=[JOB], replicas=[REPLICA], removed=[("train", "job-0")]),
    p.Metrics(
        run="train", job="job-1", replica="rank-0", steps=[3], at=[1.5], columns={"loss": ["NaN"]}
    ),
    p.History(
        id="8",
        run="train",
        job="job-1",
        replica="rank-0",
        series={"loss": p.Series(steps=[3], at=[1.5], min=["NaN"], max=["NaN"], mean=["NaN"])},
        last=True,
    ),
    UPDATE,
    p.Log(id="3", run="train", job="job-1", entries=[UPDATE]),
    p.Removed(id="4", run="train", jobs=["job-1"]),
    p.Error(id="5", code="unknown_run", text="no run", known=["train"]),
)
FROM_CLIENT = (
    p.Subscribe(id="1", runs=["train"], metrics=True),
    p.UpdateConfig(id="2", run="train", values={"lr": 0.5}, expect={"lr": 0.1}, at_step=7),
    p.Action(id="3", run="train", name="save", arguments={"path": "x"}, replicas=["rank-0"]),
    p.Pause(id="4", run="train", lease=2.0),
    p.Resume(id="5", run="train"),
    p.Stop(id="6", run="train", reason="enough"),
    p.Freeze(id="7", run="train"),
    p.Unfreeze(id="8", run="train"),
    p.ReadLog(id="9", run="train"),
    p.ReadHistory(id="9b", run="train", names=["loss"], points=10, since=3),
    p.Remove(id="10", run="gone"),
)

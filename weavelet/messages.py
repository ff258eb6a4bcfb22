"""The structs that cross the channel and, as protobuf, the bus; and the lines of an export.

Values are plain JSON-like data. NaN and infinities are allowed in floats and travel as themselves.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, Union

import msgspec

Value: TypeAlias = Any
"""None, bool, int (64 bit), float, str, list of Value, or dict of str to Value."""

Scalar: TypeAlias = Union[bool, int, float, str]

OutcomeKind: TypeAlias = Literal["applied", "rejected", "failed", "expired", "skipped", "unknown"]


class Record(msgspec.Struct, frozen=True, array_like=True):
    """Base of all messages: immutable, encoded as an array, new fields only at the end."""


class Position(Record, frozen=True):
    """A place in the control log: the store's epoch and the sequence of the last entry read."""

    epoch: str
    sequence: int


class Change(Record, frozen=True):
    """One control that went from `old` to `new`."""

    name: str
    old: Value
    new: Value


class Outcome(Record, frozen=True, kw_only=True):
    """What became of one entry on one replica.

    `step` is the optimizer step of the safe point at which it was decided, None before the first
    poll. `result` is an action's return value. `state` is the hash of all effective control values
    afterwards. `adopted` says that the entry was taken over from the log by a late or restarted
    replica and not run as it was issued. `order` numbers what the ranks of a job have decided
    together, over all its lives; 0 for what a replica has decided alone.
    """

    entry: str
    sequence: int
    replica: str
    incarnation: str
    kind: OutcomeKind
    step: int | None = None
    changes: tuple[Change, ...] = ()
    reason: str | None = None
    result: Value = None
    traceback: str | None = None
    state: str = ""
    adopted: bool = False
    order: int = 0


class Begin(Record, frozen=True, tag="begin"):
    """The first entry of a job's control log."""


class Set(Record, frozen=True, tag="set"):
    """Change several controls, all or none, in the order of `values`.

    `expect` names values that must hold for the change to be made. A dry run validates on the live
    replica, touches nothing and ends as `skipped`.
    """

    values: dict[str, Value]
    expect: dict[str, Value] = {}
    dry_run: bool = False


class Act(Record, frozen=True, tag="act"):
    """Run an action at the safe point."""

    name: str
    arguments: dict[str, Value] = {}


class Pause(Record, frozen=True, tag="pause"):
    """Hold at the safe point until resume, stop, or `lease` seconds have passed."""

    lease: float | None = None


class Resume(Record, frozen=True, tag="resume"):
    """End a pause."""


class Stop(Record, frozen=True, tag="stop"):
    """End training at the next safe point."""

    reason: str = ""


class Freeze(Record, frozen=True, tag="freeze"):
    """Refuse everything but stop and unfreeze from here on."""

    reason: str = ""


class Unfreeze(Record, frozen=True, tag="unfreeze"):
    """Accept commands again."""


class Notice(Record, frozen=True, tag="notice"):
    """Tell replicas about an event outside, such as a failed device."""

    kind: str
    detail: dict[str, Value] = {}


class Settled(Record, frozen=True, tag="settled"):
    """The end of an entry's life: the outcome of every replica it was addressed to.

    A later Settled for the same entry replaces an earlier one.
    """

    entry: str
    sequence: int
    outcomes: tuple[Outcome, ...] = ()


Body: TypeAlias = Union[Begin, Set, Act, Pause, Resume, Stop, Freeze, Unfreeze, Notice, Settled]


class Entry(Record, frozen=True, kw_only=True):
    """One thing in a job's control log.

    `targets` is what the author asked for (empty: the whole job), `addressed` the replicas that the
    weaver knew when it appended the entry and that owe an outcome. `deadline` is seconds from the
    server's time stamp of the entry, after which a replica expires it.
    """

    id: str
    author: str
    body: Body
    targets: tuple[str, ...] = ()
    addressed: tuple[str, ...] = ()
    at_step: int | None = None
    deadline: float | None = None


class ControlSpec(Record, frozen=True, kw_only=True):
    """A control or an action as the rest of the system sees it.

    `schema` is a JSON Schema as text: of the value for a control, of an object with one property
    per parameter for an action. `value` is a control's current value where it can be read.
    """

    name: str
    kind: Literal["control", "action"]
    schema: str
    unit: str = ""
    doc: str = ""
    danger: bool = False
    idempotent: bool = False
    value: Value = None
    quarantined: bool = False


class Identity(Record, frozen=True, kw_only=True):
    """Who a replica is, fixed for one incarnation."""

    run: str
    job: str
    replica: str
    incarnation: str
    pid: int
    host: str
    rank: int | None = None
    local_rank: int | None = None
    world_size: int | None = None
    version: str = ""


# Trainer to sidecar.


class Hello(Record, frozen=True, kw_only=True, tag="hello"):
    """The first frame on a new channel. `position` is the last entry that the trainer has taken.

    `url` is the session's own choice of a NATS server, never on a command line since it may hold a
    password. `interactive` says that no poll for long is no hang. `state` is the
    hash of all effective control values, as far as it is known. `whole_log` asks for the entries
    that are addressed to other replicas, too: ranks decide them together.
    """

    identity: Identity
    controls: tuple[ControlSpec, ...] = ()
    position: Position | None = None
    adopt: Literal["job", "checkpoint", "none"] = "job"
    url: str | None = None
    interactive: bool = False
    state: str = ""
    notices: tuple[str, ...] = ()
    whole_log: bool = False


class Controls(Record, frozen=True, tag="controls"):
    """The complete list of controls and actions; `Values` and outcomes tell what they become.

    `state` is the hash of all effective control values, `notices` the kinds of notices that have a
    handler.
    """

    controls: tuple[ControlSpec, ...]
    state: str = ""
    notices: tuple[str, ...] = ()


class Values(Record, frozen=True, tag="values"):
    """Current values of the controls that hold another one than `Controls` or `Hello` said."""

    values: dict[str, Value]


class Started(Record, frozen=True, tag="started"):
    """The trainer is about to run an entry; without an outcome to follow it is `unknown`."""

    entry: str
    sequence: int


class Known(Record, frozen=True, tag="known"):
    """An entry that was delivered needs no further outcome of this replica."""

    sequence: int


class Decided(Record, frozen=True, tag="decided"):
    """An outcome. The trainer keeps it until `Kept` says that the bus has stored it."""

    outcome: Outcome


class Sample(Record, frozen=True):
    """One call of report(): the step, seconds on the monotonic clock, and the metrics."""

    step: int
    at: float
    metrics: dict[str, Scalar]


class Reports(Record, frozen=True, tag="reports"):
    """Consecutive samples. `first` counts samples from 0 over the incarnation, drops included."""

    first: int
    samples: tuple[Sample, ...]


class Section(Record, frozen=True, tag="section"):
    """Entered a declared long phase, or left it (`name` None). `timeout` in seconds."""

    name: str | None
    timeout: float | None = None


class Bye(Record, frozen=True, tag="bye"):
    """The session ends on purpose. `stopped` by command, or `error` as text if one ended it."""

    stopped: bool = False
    error: str | None = None


FromTrainer: TypeAlias = Union[
    Hello, Controls, Values, Started, Known, Decided, Reports, Section, Bye
]


# Sidecar to trainer.


class Deliver(Record, frozen=True, tag="deliver"):
    """An entry to decide at the next safe point. `expires` is on this host's monotonic clock.

    `earlier` says that an earlier life of this replica may have begun it, `begun` that one of any
    replica may have.
    """

    entry: Entry
    position: Position
    expires: float | None = None
    earlier: bool = False
    begun: bool = False


class AppliedSet(Record, frozen=True):
    """A Set that the log says was applied: its entry, its author and what it set.

    `order` is that of its outcome; `at_step` and `targets` are its entry's. `own` says that it
    holds for this replica by itself; else only for ranks, which have decided it together.
    """

    entry: str
    sequence: int
    author: str
    values: dict[str, Value]
    order: int = 0
    at_step: int | None = None
    targets: tuple[str, ...] = ()
    own: bool = True


class Adopt(Record, frozen=True, tag="adopt"):
    """What the job's log says was applied for this replica before it joined, in order.

    It is taken over as one transaction.
    """

    sets: tuple[AppliedSet, ...]
    position: Position

    @property
    def values(self) -> dict[str, Value]:
        """The last value of each control."""
        return {name: value for one in self.sets for name, value in one.values.items()}


class Kept(Record, frozen=True, tag="kept"):
    """The outcome of this entry is stored on the bus; the trainer may forget it."""

    sequence: int


class Refused(Record, frozen=True, tag="refused"):
    """This incarnation is refused control; `reason` says why."""

    reason: str


FromSidecar: TypeAlias = Union[Deliver, Adopt, Kept, Refused]


# Sidecar to weaver only.

ReplicaState: TypeAlias = Literal[
    "starting",
    "running",
    "paused",
    "in-section",
    "stalled",
    "stopped",
    "exited",
    "crashed",
    "conflict",
    "unknown",
]


class Registration(Record, frozen=True, kw_only=True):
    """A replica announces itself, and again whenever its controls change.

    `notices` are the kinds of notices that it has a handler for.
    """

    identity: Identity
    controls: tuple[ControlSpec, ...] = ()
    notices: tuple[str, ...] = ()


class Lifecycle(Record, frozen=True, kw_only=True):
    """The end of an incarnation (`exited`, `crashed`), or `conflict` with another one."""

    replica: str
    incarnation: str
    state: ReplicaState
    step: int | None = None
    reason: str | None = None


class Device(Record, frozen=True, kw_only=True):
    """A device that a trainer uses, and what it is at; None for what cannot be read.

    `id` is NVML's, or `cpu-{host}` for a trainer without a GPU.
    """

    id: str
    kind: Literal["cpu", "gpu"]
    utilization_percent: float | None = None
    temperature_celsius: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    power_watts: float | None = None


class Heartbeat(Record, frozen=True, kw_only=True):
    """Once a second, from a live sidecar about its trainer.

    `rate` is steps per second with pauses taken out. `sampled` and `dropped` count calls of
    report() over the incarnation. `received` is the position of the last entry that the trainer
    has decided. `vitals` maps names such as `process_rss_bytes` to numbers. `claiming` asks any
    other live incarnation of this replica to speak up before this one takes control. `config_hash`
    is that of all effective control values, the `state` of the last outcome. `control_values` are
    of those that have moved since the registration, as a schedule moves a learning rate.
    """

    replica: str
    incarnation: str
    state: ReplicaState
    step: int | None = None
    rate: float = 0.0
    sampled: int = 0
    dropped: int = 0
    section: str | None = None
    received: int = 0
    vitals: dict[str, float] = {}
    claiming: bool = False
    config_hash: str = ""
    devices: tuple[Device, ...] = ()
    work: float | None = None
    control_values: dict[str, Value] = {}


class ReportBatch(Record, frozen=True, kw_only=True):
    """Samples of one replica, by column: `columns[name][i]` belongs to `steps[i]`.

    A metric absent from a sample is None there. `at` is seconds since the epoch on the sidecar's
    clock, for display. `first` counts samples over the incarnation, drops included. `config_hash`
    is as in a heartbeat.
    """

    replica: str
    incarnation: str
    first: int
    steps: tuple[int, ...]
    at: tuple[float, ...]
    columns: dict[str, tuple[Scalar | None, ...]]
    config_hash: str = ""


class External(Record, frozen=True, kw_only=True):
    """An event from a monitoring system: what happened to which device or host."""

    source: str
    kind: str
    host: str = ""
    device: str = ""
    detail: dict[str, Value] = {}


Message: TypeAlias = Union[
    Entry, Registration, Outcome, Lifecycle, Heartbeat, ReportBatch, External
]
"""Everything that an envelope on the bus can hold."""


# Lines of an export, read by a replay. JSON objects, so that other programs can read them.

RECORD_VERSION = 1
_COUNT = msgspec.Meta(ge=0, le=2**63 - 1)


class RecordedChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One control that went from `old` to `new`."""

    name: str
    old: Value
    new: Value


class RecordedEntry(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """An entry that one replica applied, in one life, at one step.

    `time` is the entry's own, seconds since the epoch on the server's clock. `adopted` says that it
    was taken over from the log by a late or restarted replica. Non-finite floats are written "NaN",
    "Infinity" and "-Infinity".
    """

    version: int
    run: str
    job: str
    replica: str
    incarnation: str
    sequence: Annotated[int, _COUNT]
    entry: str
    author: str
    time: float
    step: Annotated[int, _COUNT]
    adopted: bool = False


class RecordedSet(RecordedEntry, frozen=True, kw_only=True, tag="set"):
    """What was commanded and what it changed. Of Sets adopted at once the last has the changes."""

    values: dict[str, Value]
    changes: tuple[RecordedChange, ...] = ()


class RecordedAct(RecordedEntry, frozen=True, kw_only=True, tag="act"):
    """An action that was run."""

    action: str
    arguments: dict[str, Value] = {}


Recorded: TypeAlias = Union[RecordedSet, RecordedAct]

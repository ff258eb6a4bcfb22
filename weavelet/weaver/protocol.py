"""The weaver's WebSocket API: one JSON object a message, told apart by `type`.

Non-finite floats are written "NaN", "Infinity" and "-Infinity" in values and metrics. Every request
carries an `id` of the client's choice, which comes back in all answers to it. A command is answered
with `entry` messages, one for each change of its fate; the last has `settled` true. Anything that
cannot be done is answered with `error`; the connection lives on.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias, Union

import msgspec

VERSION = 1
MAX_MESSAGE_BYTES = 64 * 1024
"""The largest message that the weaver accepts from a client."""
MAX_RUNS = 100
"""How many runs one subscription may name."""


def to_json(value: Any) -> Any:
    """`value` with every non-finite float replaced by its name."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a client sends."""

    id: str


class Command(Request, frozen=True, kw_only=True):
    """Base of what enters a job's control log.

    `job` None is the newest live job of the run, `replicas` empty is all of them. `deadline` None
    is the weaver's default of 60 seconds, and no end for one with `at_step`. `entry` is the id that
    it has in the log, 16 to 32 hexadecimal digits, by default of the weaver's choice: who chooses
    it can look there for what was sent and not answered.
    """

    run: str
    job: str | None = None
    replicas: list[str] = []
    deadline: float | None = None
    at_step: int | None = None
    entry: str | None = None


class Subscribe(Request, frozen=True, kw_only=True, tag="subscribe"):
    """Ask for a `snapshot` and then deltas. `metrics` adds the samples.

    `runs` empty is all; otherwise they are 100 at most.
    """

    runs: list[str] = []
    metrics: bool = False


class UpdateConfig(Command, frozen=True, kw_only=True, tag="update_config"):
    """Set several controls, all or none."""

    values: dict[str, Any]
    expect: dict[str, Any] = {}
    dry_run: bool = False


class Action(Command, frozen=True, kw_only=True, tag="action"):
    """Run an action at the safe point."""

    name: str
    arguments: dict[str, Any] = {}


class Pause(Command, frozen=True, kw_only=True, tag="pause"):
    """Hold at the safe point, for `lease` seconds or until resumed."""

    lease: float | None = None


class Resume(Command, frozen=True, kw_only=True, tag="resume"):
    """End a pause."""


class Stop(Command, frozen=True, kw_only=True, tag="stop"):
    """End training at the next safe point."""

    reason: str = ""


class Freeze(Command, frozen=True, kw_only=True, tag="freeze"):
    """Refuse everything but stop and unfreeze."""

    reason: str = ""


class Unfreeze(Command, frozen=True, kw_only=True, tag="unfreeze"):
    """Accept commands again."""


class ReadLog(Request, frozen=True, kw_only=True, tag="read_log"):
    """Ask for the control log of a job, answered with `log`."""

    run: str
    job: str | None = None


class ReadHistory(Request, frozen=True, kw_only=True, tag="read_history"):
    """Ask for past samples, answered with one `history` for each replica.

    `replicas` empty is all, `names` empty is all metrics. No series has more than `points` points;
    only what lies at or after step `since` is given.
    """

    run: str
    job: str | None = None
    replicas: list[str] = []
    names: list[str] = []
    points: int = 1000
    since: int | None = None


class Remove(Request, frozen=True, kw_only=True, tag="remove"):
    """Forget a run, or one job of it: its log, outcomes and reports. Refused while it lives."""

    run: str
    job: str | None = None


ClientMessage: TypeAlias = Union[
    Subscribe,
    UpdateConfig,
    Action,
    Pause,
    Resume,
    Stop,
    Freeze,
    Unfreeze,
    ReadLog,
    ReadHistory,
    Remove,
]


class ControlView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A control or an action. `schema` is its JSON Schema.

    `value` is the current one. It is left out where it cannot be read, as it is of an action.
    """

    name: str
    kind: Literal["control", "action"]
    schema: dict[str, Any]
    unit: str = ""
    doc: str = ""
    danger: bool = False
    idempotent: bool = False
    quarantined: bool = False
    value: Any = msgspec.UNSET


class DeviceView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device and what it is at. `id` is NVML's, or `cpu-{host}`.

    `replicas` holds (run, job, replica) of all live ones that use it. Numbers that cannot be read
    are None; memory is in bytes.
    """

    id: str
    kind: Literal["cpu", "gpu"]
    host: str
    utilization_percent: float | None = None
    temperature_celsius: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    power_watts: float | None = None
    replicas: list[tuple[str, str, str]] = []


class RuleView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule of `up --rules`. `off` says why it was switched off.

    `fired` counts its commands since this weaver was started.
    """

    name: str
    every: float
    doc: str = ""
    off: str | None = None
    fired: int = 0


class ReplicaView(msgspec.Struct, frozen=True, kw_only=True):
    """A replica as the weaver knows it now. `rate` is steps a second, pauses taken out.

    `heard` is seconds since the last sign of life. `metrics` holds the last value of each.
    `config_hash` is that of all effective control values: equal where these are. `devices` are ids
    of `DeviceView`. `work` is the median of seconds a step that this replica spent on its own,
    before it met the others, None where that cannot be told.
    """

    run: str
    job: str
    replica: str
    incarnation: str
    state: str
    reason: str | None = None
    step: int | None = None
    rate: float = 0.0
    rank: int | None = None
    world_size: int | None = None
    host: str = ""
    pid: int = 0
    device: str = ""
    section: str | None = None
    sampled: int = 0
    dropped: int = 0
    heard: float | None = None
    metrics: dict[str, Any] = {}
    vitals: dict[str, float] = {}
    devices: list[str] = []
    work: float | None = None
    controls: list[ControlView] = []
    config_hash: str = ""


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job: one launch of a run. `newest` marks the one that commands go to by default.

    `slowest` is the replica that the others wait for, where one stands out. `diverged` says which
    replicas hold other settings than the rest, None while all agree.
    """

    run: str
    job: str
    live: bool
    newest: bool
    begun: float
    frozen_by: str | None = None
    slowest: str | None = None
    diverged: str | None = None
    replicas: list[ReplicaView] = []


class ChangeView(msgspec.Struct, frozen=True):
    """One control that went from `old` to `new`."""

    name: str
    old: Any
    new: Any


class OutcomeView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an entry on one replica.

    `config_hash` is that of all effective control values afterwards.
    """

    replica: str
    outcome: str
    step: int | None = None
    changes: list[ChangeView] = []
    reason: str | None = None
    result: Any = None
    traceback: str | None = None
    adopted: bool = False
    incarnation: str = ""
    config_hash: str = ""


class EntryView(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the control log. `kind` is its word in the log: set, act, pause, ...

    `body` holds the fields of that kind, `time` is the server's time stamp, seconds since the
    epoch.
    """

    id: str
    sequence: int
    run: str
    job: str
    kind: str
    author: str
    time: float
    body: dict[str, Any] = {}
    targets: list[str] = []
    addressed: list[str] = []
    at_step: int | None = None
    deadline: float | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag="snapshot"):
    """The whole fleet, in answer to `subscribe` and whenever deltas cannot do."""

    id: str = ""
    version: int = VERSION
    server: str = ""
    role: Literal["viewer", "operator"] = "operator"
    jobs: list[JobView] = []
    devices: list[DeviceView] = []
    rules: list[RuleView] = []


class StatusUpdate(msgspec.Struct, frozen=True, kw_only=True, tag="status_update"):
    """Jobs that changed (without their replicas), and replicas that changed, whole.

    A replica whose place another incarnation claims has a row for each; they come together and
    replace all earlier ones of that replica. `removed` holds (run, job) and comes before `jobs`.
    `devices` and `rules` are all there are, None while none of them changed. Whoever has subscribed
    hears something at least every other second: where nothing changed, an empty one of these.
    """

    jobs: list[JobView] = []
    replicas: list[ReplicaView] = []
    removed: list[tuple[str, str]] = []
    devices: list[DeviceView] | None = None
    rules: list[RuleView] | None = None


class Metrics(msgspec.Struct, frozen=True, kw_only=True, tag="metrics"):
    """Samples of one replica by column: `columns[name][i]` belongs to `steps[i]`, `at[i]`.

    `first` counts the samples of the incarnation: where that is more than came before, some were
    left out, and may be had as `history`.
    """

    run: str
    job: str
    replica: str
    steps: list[int]
    at: list[float]
    columns: dict[str, list[Any]]
    incarnation: str = ""
    first: int = 0


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One metric over steps, oldest first; point i stands for the samples from `steps[i]` on.

    All lists are equally long. Where a point stands for one sample, min, max and mean are equal.
    Non-finite samples come as points of their own. Text metrics are not kept.
    """

    steps: list[int]
    at: list[float]
    min: list[Any]
    max: list[Any]
    mean: list[Any]


class History(msgspec.Struct, frozen=True, kw_only=True, tag="history"):
    """Past samples of one replica. `last` marks the last answer to a `read_history`.

    `complete` is false while this weaver, newly started, still reads the past back; ask again soon.
    """

    id: str
    run: str
    job: str
    replica: str
    series: dict[str, Series] = {}
    last: bool = False
    complete: bool = True


class EntryUpdate(msgspec.Struct, frozen=True, kw_only=True, tag="entry"):
    """Where an entry is in its life.

    `state` is accepted, delivered, then what it ended as: applied, rejected, failed, expired,
    skipped, unknown, or mixed where replicas differ. `settled` says that no more will come.
    `outcomes` has one of each replica, then one of each later life that adopted the entry, the
    last 16 of a replica.
    """

    id: str = ""
    entry: EntryView
    state: str
    settled: bool
    outcomes: list[OutcomeView] = []


class Log(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """The control log of one job, oldest first."""

    id: str
    run: str
    job: str
    entries: list[EntryUpdate]


class Removed(msgspec.Struct, frozen=True, kw_only=True, tag="removed"):
    """The answer to `remove`: the jobs that were forgotten."""

    id: str
    run: str
    jobs: list[str]


class Error(msgspec.Struct, frozen=True, kw_only=True, tag="error"):
    """What cannot be done and why; `known` lists what could have been named instead.

    `code`: malformed, unknown_run, unknown_job, unknown_replica, unknown_control, invalid_value,
    frozen, forbidden, not_live, still_live, unavailable.
    """

    id: str = ""
    code: str
    text: str
    known: list[str] = []


ServerMessage: TypeAlias = Union[
    Snapshot, StatusUpdate, Metrics, History, EntryUpdate, Log, Removed, Error
]

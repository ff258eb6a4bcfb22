# mypy: disable-error-code=type-arg
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OutcomeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_KIND_UNSPECIFIED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_APPLIED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_REJECTED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_FAILED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_EXPIRED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_SKIPPED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_UNKNOWN: _ClassVar[OutcomeKind]

class ControlKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTROL_KIND_UNSPECIFIED: _ClassVar[ControlKind]
    CONTROL_KIND_CONTROL: _ClassVar[ControlKind]
    CONTROL_KIND_ACTION: _ClassVar[ControlKind]

class ReplicaState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLICA_STATE_UNSPECIFIED: _ClassVar[ReplicaState]
    REPLICA_STATE_STARTING: _ClassVar[ReplicaState]
    REPLICA_STATE_RUNNING: _ClassVar[ReplicaState]
    REPLICA_STATE_PAUSED: _ClassVar[ReplicaState]
    REPLICA_STATE_IN_SECTION: _ClassVar[ReplicaState]
    REPLICA_STATE_STALLED: _ClassVar[ReplicaState]
    REPLICA_STATE_STOPPED: _ClassVar[ReplicaState]
    REPLICA_STATE_EXITED: _ClassVar[ReplicaState]
    REPLICA_STATE_CRASHED: _ClassVar[ReplicaState]
    REPLICA_STATE_CONFLICT: _ClassVar[ReplicaState]
    REPLICA_STATE_UNKNOWN: _ClassVar[ReplicaState]

class DeviceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVICE_KIND_UNSPECIFIED: _ClassVar[DeviceKind]
    DEVICE_KIND_CPU: _ClassVar[DeviceKind]
    DEVICE_KIND_GPU: _ClassVar[DeviceKind]
OUTCOME_KIND_UNSPECIFIED: OutcomeKind
OUTCOME_KIND_APPLIED: OutcomeKind
OUTCOME_KIND_REJECTED: OutcomeKind
OUTCOME_KIND_FAILED: OutcomeKind
OUTCOME_KIND_EXPIRED: OutcomeKind
OUTCOME_KIND_SKIPPED: OutcomeKind
OUTCOME_KIND_UNKNOWN: OutcomeKind
CONTROL_KIND_UNSPECIFIED: ControlKind
CONTROL_KIND_CONTROL: ControlKind
CONTROL_KIND_ACTION: ControlKind
REPLICA_STATE_UNSPECIFIED: ReplicaState
REPLICA_STATE_STARTING: ReplicaState
REPLICA_STATE_RUNNING: ReplicaState
REPLICA_STATE_PAUSED: ReplicaState
REPLICA_STATE_IN_SECTION: ReplicaState
REPLICA_STATE_STALLED: ReplicaState
REPLICA_STATE_STOPPED: ReplicaState
REPLICA_STATE_EXITED: ReplicaState
REPLICA_STATE_CRASHED: ReplicaState
REPLICA_STATE_CONFLICT: ReplicaState
REPLICA_STATE_UNKNOWN: ReplicaState
DEVICE_KIND_UNSPECIFIED: DeviceKind
DEVICE_KIND_CPU: DeviceKind
DEVICE_KIND_GPU: DeviceKind

class Value(_message.Message):
    __slots__ = ("null", "boolean", "integer", "number", "text", "list", "map")
    NULL_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    null: bool
    boolean: bool
    integer: int
    number: float
    text: str
    list: ValueList
    map: ValueMap
    def __init__(self, null: bool = ..., boolean: bool = ..., integer: _Optional[int] = ..., number: _Optional[float] = ..., text: _Optional[str] = ..., list: _Optional[_Union[ValueList, _Mapping]] = ..., map: _Optional[_Union[ValueMap, _Mapping]] = ...) -> None: ...

class ValueList(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, items: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class ValueMap(_message.Message):
    __slots__ = ("items",)
    class ItemsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.MessageMap[str, Value]
    def __init__(self, items: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class Envelope(_message.Message):
    __slots__ = ("entry", "registration", "outcome", "lifecycle", "heartbeat", "report", "external")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    entry: Entry
    registration: Registration
    outcome: Outcome
    lifecycle: Lifecycle
    heartbeat: Heartbeat
    report: ReportBatch
    external: External
    def __init__(self, entry: _Optional[_Union[Entry, _Mapping]] = ..., registration: _Optional[_Union[Registration, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ..., lifecycle: _Optional[_Union[Lifecycle, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., report: _Optional[_Union[ReportBatch, _Mapping]] = ..., external: _Optional[_Union[External, _Mapping]] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("name", "old", "new")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OLD_FIELD_NUMBER: _ClassVar[int]
    NEW_FIELD_NUMBER: _ClassVar[int]
    name: str
    old: Value
    new: Value
    def __init__(self, name: _Optional[str] = ..., old: _Optional[_Union[Value, _Mapping]] = ..., new: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("entry", "sequence", "replica", "incarnation", "kind", "step", "changes", "reason", "result", "traceback", "state", "adopted", "order")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ADOPTED_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    entry: str
    sequence: int
    replica: str
    incarnation: str
    kind: OutcomeKind
    step: int
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    reason: str
    result: Value
    traceback: str
    state: str
    adopted: bool
    order: int
    def __init__(self, entry: _Optional[str] = ..., sequence: _Optional[int] = ..., replica: _Optional[str] = ..., incarnation: _Optional[str] = ..., kind: _Optional[_Union[OutcomeKind, str]] = ..., step: _Optional[int] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., reason: _Optional[str] = ..., result: _Optional[_Union[Value, _Mapping]] = ..., traceback: _Optional[str] = ..., state: _Optional[str] = ..., adopted: bool = ..., order: _Optional[int] = ...) -> None: ...

class Begin(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Set(_message.Message):
    __slots__ = ("values", "expect", "dry_run", "order")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    class ExpectEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    values: _containers.MessageMap[str, Value]
    expect: _containers.MessageMap[str, Value]
    dry_run: bool
    order: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Mapping[str, Value]] = ..., expect: _Optional[_Mapping[str, Value]] = ..., dry_run: bool = ..., order: _Optional[_Iterable[str]] = ...) -> None: ...

class Act(_message.Message):
    __slots__ = ("name", "arguments")
    class ArgumentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    arguments: _containers.MessageMap[str, Value]
    def __init__(self, name: _Optional[str] = ..., arguments: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class Pause(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: float
    def __init__(self, lease: _Optional[float] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Stop(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Freeze(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Unfreeze(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Notice(_message.Message):
    __slots__ = ("kind", "detail")
    class DetailEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    KIND_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    kind: str
    detail: _containers.MessageMap[str, Value]
    def __init__(self, kind: _Optional[str] = ..., detail: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class Settled(_message.Message):
    __slots__ = ("entry", "sequence", "outcomes")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    entry: str
    sequence: int
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, entry: _Optional[str] = ..., sequence: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("id", "author", "targets", "addressed", "at_step", "deadline", "begin", "set", "act", "pause", "resume", "stop", "freeze", "unfreeze", "notice", "settled")
    ID_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    ADDRESSED_FIELD_NUMBER: _ClassVar[int]
    AT_STEP_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    ACT_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    FREEZE_FIELD_NUMBER: _ClassVar[int]
    UNFREEZE_FIELD_NUMBER: _ClassVar[int]
    NOTICE_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    id: str
    author: str
    targets: _containers.RepeatedScalarFieldContainer[str]
    addressed: _containers.RepeatedScalarFieldContainer[str]
    at_step: int
    deadline: float
    begin: Begin
    set: Set
    act: Act
    pause: Pause
    resume: Resume
    stop: Stop
    freeze: Freeze
    unfreeze: Unfreeze
    notice: Notice
    settled: Settled
    def __init__(self, id: _Optional[str] = ..., author: _Optional[str] = ..., targets: _Optional[_Iterable[str]] = ..., addressed: _Optional[_Iterable[str]] = ..., at_step: _Optional[int] = ..., deadline: _Optional[float] = ..., begin: _Optional[_Union[Begin, _Mapping]] = ..., set: _Optional[_Union[Set, _Mapping]] = ..., act: _Optional[_Union[Act, _Mapping]] = ..., pause: _Optional[_Union[Pause, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., stop: _Optional[_Union[Stop, _Mapping]] = ..., freeze: _Optional[_Union[Freeze, _Mapping]] = ..., unfreeze: _Optional[_Union[Unfreeze, _Mapping]] = ..., notice: _Optional[_Union[Notice, _Mapping]] = ..., settled: _Optional[_Union[Settled, _Mapping]] = ...) -> None: ...

class ControlSpec(_message.Message):
    __slots__ = ("name", "kind", "schema", "unit", "doc", "danger", "idempotent", "value", "quarantined")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    DOC_FIELD_NUMBER: _ClassVar[int]
    DANGER_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: ControlKind
    schema: str
    unit: str
    doc: str
    danger: bool
    idempotent: bool
    value: Value
    quarantined: bool
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[ControlKind, str]] = ..., schema: _Optional[str] = ..., unit: _Optional[str] = ..., doc: _Optional[str] = ..., danger: bool = ..., idempotent: bool = ..., value: _Optional[_Union[Value, _Mapping]] = ..., quarantined: bool = ...) -> None: ...

class Identity(_message.Message):
    __slots__ = ("run", "job", "replica", "incarnation", "pid", "host", "rank", "local_rank", "world_size", "version")
    RUN_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    LOCAL_RANK_FIELD_NUMBER: _ClassVar[int]
    WORLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    run: str
    job: str
    replica: str
    incarnation: str
    pid: int
    host: str
    rank: int
    local_rank: int
    world_size: int
    version: str
    def __init__(self, run: _Optional[str] = ..., job: _Optional[str] = ..., replica: _Optional[str] = ..., incarnation: _Optional[str] = ..., pid: _Optional[int] = ..., host: _Optional[str] = ..., rank: _Optional[int] = ..., local_rank: _Optional[int] = ..., world_size: _Optional[int] = ..., version: _Optional[str] = ...) -> None: ...

class Registration(_message.Message):
    __slots__ = ("identity", "controls", "notices")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    CONTROLS_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    identity: Identity
    controls: _containers.RepeatedCompositeFieldContainer[ControlSpec]
    notices: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, identity: _Optional[_Union[Identity, _Mapping]] = ..., controls: _Optional[_Iterable[_Union[ControlSpec, _Mapping]]] = ..., notices: _Optional[_Iterable[str]] = ...) -> None: ...

class Lifecycle(_message.Message):
    __slots__ = ("replica", "incarnation", "state", "step", "reason")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    replica: str
    incarnation: str
    state: ReplicaState
    step: int
    reason: str
    def __init__(self, replica: _Optional[str] = ..., incarnation: _Optional[str] = ..., state: _Optional[_Union[ReplicaState, str]] = ..., step: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("id", "kind", "utilization_percent", "temperature_celsius", "memory_used_bytes", "memory_total_bytes", "power_watts")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_CELSIUS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    POWER_WATTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: DeviceKind
    utilization_percent: float
    temperature_celsius: float
    memory_used_bytes: float
    memory_total_bytes: float
    power_watts: float
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[_Union[DeviceKind, str]] = ..., utilization_percent: _Optional[float] = ..., temperature_celsius: _Optional[float] = ..., memory_used_bytes: _Optional[float] = ..., memory_total_bytes: _Optional[float] = ..., power_watts: _Optional[float] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("replica", "incarnation", "state", "step", "rate", "sampled", "dropped", "section", "received", "vitals", "claiming", "config_hash", "devices", "work", "control_values")
    class VitalsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ControlValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    SECTION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    VITALS_FIELD_NUMBER: _ClassVar[int]
    CLAIMING_FIELD_NUMBER: _ClassVar[int]
    CONFIG_HASH_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    WORK_FIELD_NUMBER: _ClassVar[int]
    CONTROL_VALUES_FIELD_NUMBER: _ClassVar[int]
    replica: str
    incarnation: str
    state: ReplicaState
    step: int
    rate: float
    sampled: int
    dropped: int
    section: str
    received: int
    vitals: _containers.ScalarMap[str, float]
    claiming: bool
    config_hash: str
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    work: float
    control_values: _containers.MessageMap[str, Value]
    def __init__(self, replica: _Optional[str] = ..., incarnation: _Optional[str] = ..., state: _Optional[_Union[ReplicaState, str]] = ..., step: _Optional[int] = ..., rate: _Optional[float] = ..., sampled: _Optional[int] = ..., dropped: _Optional[int] = ..., section: _Optional[str] = ..., received: _Optional[int] = ..., vitals: _Optional[_Mapping[str, float]] = ..., claiming: bool = ..., config_hash: _Optional[str] = ..., devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ..., work: _Optional[float] = ..., control_values: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("name", "numbers", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    numbers: Numbers
    values: ValueList
    def __init__(self, name: _Optional[str] = ..., numbers: _Optional[_Union[Numbers, _Mapping]] = ..., values: _Optional[_Union[ValueList, _Mapping]] = ...) -> None: ...

class Numbers(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, items: _Optional[_Iterable[float]] = ...) -> None: ...

class ReportBatch(_message.Message):
    __slots__ = ("replica", "incarnation", "first", "steps", "at", "columns", "config_hash")
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_HASH_FIELD_NUMBER: _ClassVar[int]
    replica: str
    incarnation: str
    first: int
    steps: _containers.RepeatedScalarFieldContainer[int]
    at: _containers.RepeatedScalarFieldContainer[float]
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    config_hash: str
    def __init__(self, replica: _Optional[str] = ..., incarnation: _Optional[str] = ..., first: _Optional[int] = ..., steps: _Optional[_Iterable[int]] = ..., at: _Optional[_Iterable[float]] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., config_hash: _Optional[str] = ...) -> None: ...

class External(_message.Message):
    __slots__ = ("source", "kind", "host", "device", "detail")
    class DetailEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    source: str
    kind: str
    host: str
    device: str
    detail: _containers.MessageMap[str, Value]
    def __init__(self, source: _Optional[str] = ..., kind: _Optional[str] = ..., host: _Optional[str] = ..., device: _Optional[str] = ..., detail: _Optional[_Mapping[str, Value]] = ...) -> None: ...

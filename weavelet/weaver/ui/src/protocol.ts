// Written by build_backend/export_protocol.py out of weavelet/weaver/protocol.py.

export const VERSION = 1
/** The largest message that the weaver accepts, in bytes. */
export const MAX_MESSAGE_BYTES = 65536

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }

/**
 * Run an action at the safe point.
 */
export interface Action {
  type: 'action'
  id: string
  run: string
  job?: string | null
  replicas?: string[]
  deadline?: number | null
  at_step?: number | null
  entry?: string | null
  name: string
  arguments?: Record<string, Json>
}

/**
 * One control that went from `old` to `new`.
 */
export interface ChangeView {
  name: string
  old: Json
  new: Json
}

/**
 * A control or an action. `schema` is its JSON Schema.
 *
 * `value` is the current one. It is left out where it cannot be read, as it is of an action.
 */
export interface ControlView {
  name: string
  kind: 'action' | 'control'
  schema: Record<string, Json>
  unit?: string
  doc?: string
  danger?: boolean
  idempotent?: boolean
  quarantined?: boolean
  value?: Json
}

/**
 * A device and what it is at. `id` is NVML's, or `cpu-{host}`.
 *
 * `replicas` holds (run, job, replica) of all live ones that use it. Numbers that cannot be read
 * are None; memory is in bytes.
 */
export interface DeviceView {
  id: string
  kind: 'cpu' | 'gpu'
  host: string
  utilization_percent?: number | null
  temperature_celsius?: number | null
  memory_used_bytes?: number | null
  memory_total_bytes?: number | null
  power_watts?: number | null
  replicas?: ([string, string, string])[]
}

/**
 * Where an entry is in its life.
 *
 * `state` is accepted, delivered, then what it ended as: applied, rejected, failed, expired,
 * skipped, unknown, or mixed where replicas differ. `settled` says that no more will come.
 * `outcomes` has one of each replica, then one of each later life that adopted the entry, the
 * last 16 of a replica.
 */
export interface EntryUpdate {
  type: 'entry'
  id: string
  entry: EntryView
  state: string
  settled: boolean
  outcomes: OutcomeView[]
}

/**
 * An entry of the control log. `kind` is its word in the log: set, act, pause, ...
 *
 * `body` holds the fields of that kind, `time` is the server's time stamp, seconds since the
 * epoch.
 */
export interface EntryView {
  id: string
  sequence: number
  run: string
  job: string
  kind: string
  author: string
  time: number
  body: Record<string, Json>
  targets: string[]
  addressed: string[]
  at_step: number | null
  deadline: number | null
}

/**
 * What cannot be done and why; `known` lists what could have been named instead.
 *
 * `code`: malformed, unknown_run, unknown_job, unknown_replica, unknown_control, invalid_value,
 * frozen, forbidden, not_live, still_live, unavailable.
 */
export interface Error {
  type: 'error'
  id: string
  code: string
  text: string
  known: string[]
}

/**
 * Refuse everything but stop and unfreeze.
 */
export interface Freeze {
  type: 'freeze'
  id: string
  run: string
  job?: string | null
  replicas?: string[]
  deadline?: number | null
  at_step?: number | null
  entry?: string | null
  reason?: string
}

/**
 * Past samples of one replica. `last` marks the last answer to a `read_history`.
 *
 * `complete` is false while this weaver, newly started, still reads the past back; ask again soon.
 */
export interface History {
  type: 'history'
  id: string
  run: string
  job: string
  replica: string
  series: Record<string, Series>
  last: boolean
  complete: boolean
}

/**
 * A job: one launch of a run. `newest` marks the one that commands go to by default.
 *
 * `slowest` is the replica that the others wait for, where one stands out. `diverged` says which
 * replicas hold other settings than the rest, None while all agree.
 */
export interface JobView {
  run: string
  job: string
  live: boolean
  newest: boolean
  begun: number
  frozen_by: string | null
  slowest: string | null
  diverged: string | null
  replicas: ReplicaView[]
}

/**
 * The control log of one job, oldest first.
 */
export interface Log {
  type: 'log'
  id: string
  run: string
  job: string
  entries: EntryUpdate[]
}

/**
 * Samples of one replica by column: `columns[name][i]` belongs to `steps[i]`, `at[i]`.
 *
 * `first` counts the samples of the incarnation: where that is more than came before, some were
 * left out, and may be had as `history`.
 */
export interface Metrics {
  type: 'metrics'
  run: string
  job: string
  replica: string
  steps: number[]
  at: number[]
  columns: Record<string, Json[]>
  incarnation: string
  first: number
}

/**
 * What became of an entry on one replica.
 *
 * `config_hash` is that of all effective control values afterwards.
 */
export interface OutcomeView {
  replica: string
  outcome: string
  step: number | null
  changes: ChangeView[]
  reason: string | null
  result: Json
  traceback: string | null
  adopted: boolean
  incarnation: string
  config_hash: string
}

/**
 * Hold at the safe point, for `lease` seconds or until resumed.
 */
export interface Pause {
  type: 'pause'
  id: string
  run: string
  job?: string | null
  replicas?: string[]
  deadline?: number | null
  at_step?: number | null
  entry?: string | null
  lease?: number | null
}

/**
 * Ask for past samples, answered with one `history` for each replica.
 *
 * `replicas` empty is all, `names` empty is all metrics. No series has more than `points` points;
 * only what lies at or after step `since` is given.
 */
export interface ReadHistory {
  type: 'read_history'
  id: string
  run: string
  job?: string | null
  replicas?: string[]
  names?: string[]
  points?: number
  since?: number | null
}

/**
 * Ask for the control log of a job, answered with `log`.
 */
export interface ReadLog {
  type: 'read_log'
  id: string
  run: string
  job?: string | null
}

/**
 * Forget a run, or one job of it: its log, outcomes and reports. Refused while it lives.
 */
export interface Remove {
  type: 'remove'
  id: string
  run: string
  job?: string | null
}

/**
 * The answer to `remove`: the jobs that were forgotten.
 */
export interface Removed {
  type: 'removed'
  id: string
  run: string
  jobs: string[]
}

/**
 * A replica as the weaver knows it now. `rate` is steps a second, pauses taken out.
 *
 * `heard` is seconds since the last sign of life. `metrics` holds the last value of each.
 * `config_hash` is that of all effective control values: equal where these are. `devices` are ids
 * of `DeviceView`. `work` is the median of seconds a step that this replica spent on its own,
 * before it met the others, None where that cannot be told.
 */
export interface ReplicaView {
  run: string
  job: string
  replica: string
  incarnation: string
  state: string
  reason: string | null
  step: number | null
  rate: number
  rank: number | null
  world_size: number | null
  host: string
  pid: number
  device: string
  section: string | null
  sampled: number
  dropped: number
  heard: number | null
  metrics: Record<string, Json>
  vitals: Record<string, number>
  devices: string[]
  work: number | null
  controls: ControlView[]
  config_hash: string
}

/**
 * End a pause.
 */
export interface Resume {
  type: 'resume'
  id: string
  run: string
  job?: string | null
  replicas?: string[]
  deadline?: number | null
  at_step?: number | null
  entry?: string | null
}

/**
 * A rule of `up --rules`. `off` says why it was switched off.
 *
 * `fired` counts its commands since this weaver was started.
 */
export interface RuleView {
  name: string
  every: number
  doc?: string
  off?: string | null
  fired?: number
}

/**
 * One metric over steps, oldest first; point i stands for the samples from `steps[i]` on.
 *
 * All lists are equally long. Where a point stands for one sample, min, max and mean are equal.
 * Non-finite samples come as points of their own. Text metrics are not kept.
 */
export interface Series {
  steps: number[]
  at: number[]
  min: Json[]
  max: Json[]
  mean: Json[]
}

/**
 * The whole fleet, in answer to `subscribe` and whenever deltas cannot do.
 */
export interface Snapshot {
  type: 'snapshot'
  id: string
  version: number
  server: string
  role: 'operator' | 'viewer'
  jobs: JobView[]
  devices: DeviceView[]
  rules: RuleView[]
}

/**
 * Jobs that changed (without their replicas), and replicas that changed, whole.
 *
 * A replica whose place another incarnation claims has a row for each; they come together and
 * replace all earlier ones of that replica. `removed` holds (run, job) and comes before `jobs`.
 * `devices` and `rules` are all there are, None while none of them changed. Whoever has subscribed
 * hears something at least every other second: where nothing changed, an empty one of these.
 */
export interface StatusUpdate {
  type: 'status_update'
  jobs: JobView[]
  replicas: ReplicaView[]
  removed: ([string, string])[]
  devices: DeviceView[] | null
  rules: RuleView[] | null
}

/**
 * End training at the next safe point.
 */
export interface Stop {
  type: 'stop'
  id: string
  run: string
  job?: string | null
  replicas?: string[]
  deadline?: number | null
  at_step?: number | null
  entry?: string | null
  reason?: string
}

/**
 * Ask for a `snapshot` and then deltas. `metrics` adds the samples.
 *
 * `runs` empty is all; otherwise they are 100 at most.
 */
export interface Subscribe {
  type: 'subscribe'
  id: string
  runs?: string[]
  metrics?: boolean
}

/**
 * Accept commands again.
 */
export interface Unfreeze {
  type: 'unfreeze'
  id: string
  run: string
  job?: string | null
  replicas?: string[]
  deadline?: number | null
  at_step?: number | null
  entry?: string | null
}

/**
 * Set several controls, all or none.
 */
export interface UpdateConfig {
  type: 'update_config'
  id: string
  run: string
  job?: string | null
  replicas?: string[]
  deadline?: number | null
  at_step?: number | null
  entry?: string | null
  values: Record<string, Json>
  expect?: Record<string, Json>
  dry_run?: boolean
}

export type ClientMessage =
  | Subscribe
  | UpdateConfig
  | Action
  | Pause
  | Resume
  | Stop
  | Freeze
  | Unfreeze
  | ReadLog
  | ReadHistory
  | Remove

export type ServerMessage =
  | Snapshot
  | StatusUpdate
  | Metrics
  | History
  | EntryUpdate
  | Log
  | Removed
  | Error

import type { EntryUpdate, JobView, OutcomeView, ReplicaView, Snapshot } from '../protocol'

// Messages as the weaver makes them, with what a test is about laid over.

export function replica(over: Partial<ReplicaView> = {}): ReplicaView {
  return {
    run: 'train',
    job: 'job-1',
    replica: 'rank-0',
    incarnation: 'aa',
    state: 'running',
    reason: null,
    step: 10,
    rate: 5,
    rank: null,
    world_size: null,
    host: 'node',
    pid: 1,
    device: 'cpu-node',
    section: null,
    sampled: 1,
    dropped: 0,
    heard: 0.1,
    metrics: {},
    vitals: {},
    devices: [],
    work: null,
    controls: [],
    config_hash: 'h',
    ...over,
  }
}

export function job(over: Partial<JobView> = {}): JobView {
  return {
    run: 'train',
    job: 'job-1',
    live: true,
    newest: true,
    begun: 1,
    frozen_by: null,
    slowest: null,
    diverged: null,
    replicas: [],
    ...over,
  }
}

export function snapshot(jobs: JobView[], over: Partial<Snapshot> = {}): Snapshot {
  return {
    type: 'snapshot',
    id: '',
    version: 1,
    server: 'weavelet',
    role: 'operator',
    jobs,
    devices: [],
    rules: [],
    ...over,
  }
}

export function outcome(over: Partial<OutcomeView> = {}): OutcomeView {
  return {
    replica: 'rank-0',
    outcome: 'applied',
    step: 12,
    changes: [],
    reason: null,
    result: null,
    traceback: null,
    adopted: false,
    incarnation: 'aa',
    config_hash: '',
    ...over,
  }
}

export function update(
  over: Partial<EntryUpdate> = {},
  entry: Partial<EntryUpdate['entry']> = {},
): EntryUpdate {
  return {
    type: 'entry',
    id: '',
    state: 'accepted',
    settled: false,
    outcomes: [],
    ...over,
    entry: {
      id: 'e1',
      sequence: 2,
      run: 'train',
      job: 'job-1',
      kind: 'set',
      author: 'ann',
      time: 1000,
      body: { values: { lr: 0.1 }, expect: {}, dry_run: false },
      targets: [],
      addressed: ['rank-0'],
      at_step: null,
      deadline: 60,
      ...entry,
    },
  }
}

import { defineStore } from 'pinia'
import { computed, shallowRef } from 'vue'

import type { JobView, ReplicaView, Snapshot, StatusUpdate } from '../protocol'

/** A replica as it was told at the time `at`, milliseconds on the page's own clock. */
export interface Row {
  readonly view: ReplicaView
  readonly at: number
}

/** A job and its replicas; one whose place another incarnation claims has several rows. */
export interface Job {
  readonly job: JobView
  readonly rows: readonly Row[]
}

export interface Run {
  readonly run: string
  /** The newest first. */
  readonly jobs: readonly Job[]
}

/** What was told of the fleet. Never changed: each fold makes a new one out of shared parts. */
export interface Fleet {
  readonly jobs: ReadonlyMap<string, JobView>
  readonly rows: ReadonlyMap<string, ReadonlyMap<string, readonly Row[]>>
}

export const EMPTY: Fleet = { jobs: new Map(), rows: new Map() }

export function keyOf(run: string, job: string): string {
  return `${run}\u0000${job}`
}

/** A snapshot of the runs in `scope` (empty: of all) is the whole truth about them. */
export function foldSnapshot(
  fleet: Fleet,
  snapshot: Snapshot,
  scope: readonly string[],
  at: number,
): Fleet {
  const outside = (job: JobView) => scope.length > 0 && !scope.includes(job.run)
  const jobs = new Map([...fleet.jobs].filter(([, job]) => outside(job)))
  const rows = new Map([...fleet.rows].filter(([key]) => jobs.has(key)))
  for (const job of snapshot.jobs) jobs.set(keyOf(job.run, job.job), job)
  place(
    rows,
    snapshot.jobs.flatMap((job) => job.replicas),
    at,
  )
  return { jobs, rows }
}

export function foldUpdate(fleet: Fleet, update: StatusUpdate, at: number): Fleet {
  const jobs = new Map(fleet.jobs)
  const rows = new Map(fleet.rows)
  for (const [run, job] of update.removed) {
    jobs.delete(keyOf(run, job))
    rows.delete(keyOf(run, job))
  }
  for (const job of update.jobs) jobs.set(keyOf(job.run, job.job), job)
  place(rows, update.replicas, at)
  return { jobs, rows }
}

function place(
  rows: Map<string, ReadonlyMap<string, readonly Row[]>>,
  replicas: readonly ReplicaView[],
  at: number,
): void {
  const fresh = new Map<string, Map<string, Row[]>>()
  for (const view of replicas) {
    const key = keyOf(view.run, view.job)
    const job = fresh.get(key) ?? new Map<string, Row[]>()
    fresh.set(key, job)
    const places = job.get(view.replica) ?? []
    job.set(view.replica, places)
    places.push({ view, at })
  }
  for (const [key, job] of fresh) {
    const merged = new Map(rows.get(key))
    for (const [replica, places] of job) merged.set(replica, places)
    rows.set(key, merged)
  }
}

/** By rank where there is one, then by name. */
export function inOrder(rows: Iterable<Row>): Row[] {
  return [...rows].sort((a, b) => {
    const ranks = (a.view.rank ?? Infinity) - (b.view.rank ?? Infinity)
    if (ranks !== 0 && !Number.isNaN(ranks)) return ranks
    return compare(a.view.replica, b.view.replica)
  })
}

const collator = new Intl.Collator('en', { numeric: true })
/** Names with numbers in them as people order them. */
export const compare = (a: string, b: string): number => collator.compare(a, b)

/** All runs by name, each with its jobs. */
export function runsOf(fleet: Fleet): Run[] {
  const runs = new Map<string, Job[]>()
  for (const [key, job] of fleet.jobs) {
    const jobs = runs.get(job.run) ?? []
    runs.set(job.run, jobs)
    jobs.push({ job, rows: inOrder([...(fleet.rows.get(key)?.values() ?? [])].flat()) })
  }
  return [...runs]
    .sort(([a], [b]) => compare(a, b))
    .map(([run, jobs]) => ({ run, jobs: jobs.sort((a, b) => order(a.job, b.job)) }))
}

function order(a: JobView, b: JobView): number {
  if (a.newest !== b.newest) return a.newest ? -1 : 1
  return b.begun - a.begun
}

/** How many replicas are in each state. */
export function census(rows: readonly Row[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { view } of rows) counts.set(view.state, (counts.get(view.state) ?? 0) + 1)
  return counts
}

export const useFleet = defineStore('fleet', () => {
  const fleet = shallowRef<Fleet>(EMPTY)
  const told = shallowRef(false)
  const runs = computed(() => runsOf(fleet.value))

  function snapshot(message: Snapshot, scope: readonly string[], at: number): void {
    fleet.value = foldSnapshot(fleet.value, message, scope, at)
    told.value = true
  }

  function update(message: StatusUpdate, at: number): void {
    fleet.value = foldUpdate(fleet.value, message, at)
  }

  return { fleet, told, runs, snapshot, update }
})

import { defineStore } from 'pinia'
import { reactive, ref, shallowRef } from 'vue'

import type { History, Json, Metrics } from '../protocol'

/** The most points that one metric of one replica has here. */
export const MOST_POINTS = 10_000
const MOST_BREAKS = 500

/**
 * A metric of one replica, in the order of its steps; all lists equally long but `breaks`, the steps
 * before which samples are missing.
 */
export interface Ring {
  steps: number[]
  at: number[]
  values: number[]
  min: number[]
  max: number[]
  breaks: number[]
}

/** A number as the API writes it, null for what is none. */
export function numberOf(value: Json | undefined): number | null {
  if (typeof value === 'number') return value
  if (typeof value === 'boolean') return value ? 1 : 0
  if (value === 'NaN') return NaN
  if (value === 'Infinity') return Infinity
  if (value === '-Infinity') return -Infinity
  return null
}

export function emptyRing(): Ring {
  return { steps: [], at: [], values: [], min: [], max: [], breaks: [] }
}

/** Add a point. What lies at its step or after it was trained once more, and is replaced. */
export function push(
  ring: Ring,
  step: number,
  at: number,
  value: number,
  min = value,
  max = value,
): void {
  let length = ring.steps.length
  while (length > 0 && (ring.steps[length - 1] ?? 0) >= step) length -= 1
  cut(ring, length)
  ring.steps.push(step)
  ring.at.push(at)
  ring.values.push(value)
  ring.min.push(min)
  ring.max.push(max)
  if (ring.steps.length > MOST_POINTS) thin(ring)
}

function cut(ring: Ring, length: number): void {
  if (ring.steps.length === length) return
  const from = ring.steps[length] ?? Infinity
  ring.breaks = ring.breaks.filter((step) => step < from)
  for (const list of [ring.steps, ring.at, ring.values, ring.min, ring.max]) list.length = length
}

/** Merge neighbours in the older half, each with its like; where that gains little, the oldest go. */
export function thin(ring: Ring): void {
  const half = Math.floor(ring.steps.length / 2)
  const old = emptyRing()
  for (let i = 0; i < half; i += 1) {
    const last = old.steps.length - 1
    if (i % 2 === 1 && alike(ring.values[i] ?? NaN, old.values[last] ?? NaN)) {
      old.values[last] = ((old.values[last] ?? 0) + (ring.values[i] ?? 0)) / 2
      old.min[last] = Math.min(old.min[last] ?? 0, ring.min[i] ?? 0)
      old.max[last] = Math.max(old.max[last] ?? 0, ring.max[i] ?? 0)
      continue
    }
    old.steps.push(ring.steps[i] ?? 0)
    old.at.push(ring.at[i] ?? 0)
    old.values.push(ring.values[i] ?? NaN)
    old.min.push(ring.min[i] ?? NaN)
    old.max.push(ring.max[i] ?? NaN)
  }
  // Less than this would be thinned again at once, at the price of all points for each new one.
  const excess = Math.max(0, old.steps.length - Math.floor(half * 0.75))
  for (const name of ['steps', 'at', 'values', 'min', 'max'] as const) {
    ring[name] = [...old[name].slice(excess), ...ring[name].slice(half)]
  }
  ring.breaks = ring.breaks.slice(-MOST_BREAKS)
}

function alike(a: number, b: number): boolean {
  return (Number.isFinite(a) && Number.isFinite(b)) || Object.is(a, b)
}

/** The past as it was told, after what is known from before it, and what was sampled since. */
export function withPast(past: Ring, live: Ring, complete: boolean): Ring {
  const ring = emptyRing()
  const first = past.at[0] ?? Infinity
  const last = past.at[past.at.length - 1] ?? -Infinity
  const before = live.at.findIndex((at) => at >= first)
  const count = before < 0 ? live.at.length : before
  for (let i = 0; i < count; i += 1) pushAt(ring, live, i)
  for (let i = 0; i < past.steps.length; i += 1) pushAt(ring, past, i)
  const after = live.at.findIndex((at, i) => i >= count && at > last)
  for (let i = after; i >= 0 && i < live.steps.length; i += 1) pushAt(ring, live, i)
  ring.breaks = breaksOf(past, live, complete, live.steps[after])
  return ring
}

/** What a complete past covers has no holes; an incomplete one has them at both ends, if not elsewhere. */
function breaksOf(past: Ring, live: Ring, complete: boolean, after: number | undefined): number[] {
  const from = past.steps[0] ?? Infinity
  const to = past.steps[past.steps.length - 1] ?? -Infinity
  const kept = live.breaks.filter((step) => !complete || step < from || step > to)
  const ends = complete || past.steps.length === 0 ? [] : [from, ...(after === undefined ? [] : [after])]
  return [...new Set([...kept, ...ends])].sort((a, b) => a - b)
}

function pushAt(to: Ring, from: Ring, i: number): void {
  push(to, from.steps[i] ?? 0, from.at[i] ?? 0, from.values[i] ?? NaN, from.min[i], from.max[i])
}

function ringOf(series: History['series'][string]): Ring {
  const ring = emptyRing()
  series.steps.forEach((step, i) => {
    const mean = numberOf(series.mean[i])
    if (mean === null) return
    const low = numberOf(series.min[i]) ?? mean
    push(ring, step, series.at[i] ?? 0, mean, low, numberOf(series.max[i]) ?? mean)
  })
  return ring
}

/** What the page draws: of all others no samples are kept. */
export interface Wanted {
  run: string
  job: string
  replicas: readonly string[]
  names: readonly string[]
}

const NOTHING: Wanted = { run: '', job: '', replicas: [], names: [] }

export const useSamples = defineStore('samples', () => {
  const rings = new Map<string, Ring>()
  const wanted = shallowRef<Wanted>(NOTHING)
  /** Counts the changes of each metric. */
  const versions = reactive(new Map<string, number>())
  /** Counts the signs that samples are missing which the weaver may have by now. */
  const gaps = ref(0)
  /** By replica, how many samples of an incarnation there were before the next ones. */
  const counts = new Map<string, { incarnation: string; next: number }>()

  const key = (replica: string, name: string) => `${replica}\u0000${name}`

  /** Keep the samples of these from now on, and forget the others. */
  function want(now: Wanted): void {
    const same = now.run === wanted.value.run && now.job === wanted.value.job
    const kept = new Set(now.replicas.flatMap((replica) => now.names.map((name) => key(replica, name))))
    for (const one of [...rings.keys()]) if (!same || !kept.has(one)) rings.delete(one)
    if (!same) counts.clear()
    wanted.value = now
    for (const name of now.names) touch(name)
  }

  function isWanted(message: { run: string; job: string; replica: string }): boolean {
    const { run, job, replicas } = wanted.value
    return message.run === run && message.job === job && replicas.includes(message.replica)
  }

  /** Whether samples are missing between these and the last ones. */
  function isTorn(message: Metrics): boolean {
    const { replica, incarnation, first } = message
    const known = counts.get(replica)
    counts.set(replica, { incarnation, next: first + message.steps.length })
    return known !== undefined && first > (known.incarnation === incarnation ? known.next : 0)
  }

  function add(message: Metrics): void {
    if (!isWanted(message)) return
    const torn = isTorn(message)
    if (torn) gaps.value += 1
    for (const name of wanted.value.names) {
      // A metric may be called `constructor`, which every object has.
      const column = Object.hasOwn(message.columns, name) ? message.columns[name] : undefined
      if (column === undefined) continue
      const ring = rings.get(key(message.replica, name)) ?? emptyRing()
      rings.set(key(message.replica, name), ring)
      column.forEach((value, i) => {
        const number = numberOf(value)
        if (number !== null) push(ring, message.steps[i] ?? 0, message.at[i] ?? 0, number)
      })
      if (torn) ring.breaks.push(message.steps[0] ?? 0)
      touch(name)
    }
  }

  function fill(message: History): void {
    if (!isWanted(message)) return
    if (!message.complete) gaps.value += 1
    for (const [name, series] of Object.entries(message.series)) {
      if (!wanted.value.names.includes(name)) continue
      const live = rings.get(key(message.replica, name)) ?? emptyRing()
      rings.set(key(message.replica, name), withPast(ringOf(series), live, message.complete))
      touch(name)
    }
  }

  function touch(name: string): void {
    versions.set(name, (versions.get(name) ?? 0) + 1)
  }

  /** The ring of a metric; to be read again whenever `versions` changes. */
  function ring(replica: string, name: string): Ring | undefined {
    return rings.get(key(replica, name))
  }

  return { wanted, versions, gaps, want, add, fill, ring }
})

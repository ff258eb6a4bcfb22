import { same } from '../json/exact'
import type { ControlView, Json } from '../protocol'
import type { Job, Row } from '../stores/fleet'

const OVER = ['exited', 'crashed', 'conflict']

/** The replicas of a job that can be commanded. */
export function alive(job: Job): Row[] {
  return job.rows.filter(({ view }) => !OVER.includes(view.state))
}

/** Controls and actions of all these replicas, in the order in which they were registered. */
export function controlsOf(rows: readonly Row[]): ControlView[] {
  const found = new Map<string, ControlView>()
  for (const { view } of rows) {
    for (const control of view.controls) {
      const key = `${control.kind} ${control.name}`
      if (!found.has(key)) found.set(key, control)
    }
  }
  return [...found.values()]
}

/**
 * Where replicas hold different values of a control: its name, then replica, then value. Those of
 * one hash were set alike: what a schedule has made of a value since, each tells at its own step.
 */
export function differences(rows: readonly Row[]): Record<string, Record<string, Json>> {
  const hashes = new Set(rows.map(({ view }) => view.config_hash))
  if (hashes.size === 1 && !hashes.has('')) return {}
  const values = new Map<string, Map<string, Json>>()
  for (const { view } of rows) {
    for (const { kind, name, value } of view.controls) {
      if (kind !== 'control') continue
      const held = values.get(name) ?? new Map<string, Json>()
      values.set(name, held.set(view.replica, value ?? null))
    }
  }
  const differing = [...values].filter(([, held]) => {
    const [first, ...others] = held.values()
    return others.some((other) => !same(first, other))
  })
  return Object.fromEntries(differing.map(([name, held]) => [name, Object.fromEntries(held)]))
}

/** Why a job takes no commands now, as far as this page knows; empty if it does. */
export function whyNot(
  job: Job | null,
  live: boolean,
  role: 'viewer' | 'operator',
): { all: string; whileFrozen: string } {
  const both = (text: string) => ({ all: text, whileFrozen: text })
  if (!live) return both('Not connected: nothing can be commanded until the connection is back.')
  if (role === 'viewer') {
    return both("This link may look, not command. The operator's link, which weavelet up prints, may.")
  }
  if (job === null) return both('There is no such job.')
  if (alive(job).length === 0) return both('No replica of this job runs any more.')
  const by = job.job.frozen_by
  if (by === null) return both('')
  return {
    all: `Frozen by ${by}: only stop and unfreeze are accepted.`,
    whileFrozen: '',
  }
}

/** Names of all metrics that are numbers, the loss first, then as people order them. */
export function metricNames(rows: readonly Row[]): string[] {
  const names = new Set<string>()
  for (const { view } of rows) {
    for (const [name, value] of Object.entries(view.metrics)) {
      const word = value === 'NaN' || value === 'Infinity' || value === '-Infinity'
      if (typeof value === 'number' || typeof value === 'boolean' || word) names.add(name)
    }
  }
  const weight = (name: string) => (name === 'loss' ? 0 : /loss/i.test(name) ? 1 : 2)
  return [...names].sort((a, b) => weight(a) - weight(b) || a.localeCompare(b, 'en', { numeric: true }))
}

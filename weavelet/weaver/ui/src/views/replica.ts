import { figure, lossName, rate } from '../text/figures'
import { ago, clock } from '../text/times'
import type { Job, Row } from '../stores/fleet'

const ENDED = ['exited', 'crashed']

/** Whether its process is gone: then nothing new comes of it. */
export function hasEnded({ view }: Row): boolean {
  return isOver(view.state)
}

/** Whether a state is the last one of a process. */
export function isOver(state: string): boolean {
  return ENDED.includes(state)
}

/** Its loss, or what it reports that is called like one. */
export function lossOf({ view }: Row): string {
  const name = lossName(Object.keys(view.metrics))
  return name === undefined ? '' : figure(view.metrics[name])
}

/** Its steps a second; nothing of one that makes no steps any more. */
export function rateOf(row: Row): string {
  return hasEnded(row) ? '' : rate(row.view.rate)
}

/** How long ago the last sign of life was, at `now` on the page's own clock. */
export function heardOf({ view, at }: Row, now: number): string {
  return view.heard === null ? '' : ago(view.heard + Math.max(0, now - at) / 1000)
}

/** When it was last heard, in local time: of one that ended, when it did. */
export function lastHeard({ view, at }: Row, today = new Date()): string {
  return view.heard === null ? '' : clock((performance.timeOrigin + at) / 1000 - view.heard, today)
}

/** Whether the others of its job wait for it. */
export function isSlowest({ job }: Job, { view }: Row): boolean {
  return job.slowest === view.replica
}

/** Whether it holds other settings than most of its job, where that diverged. */
export function isDiverged({ job, rows }: Job, { view }: Row): boolean {
  if (job.diverged === null || view.config_hash === '') return false
  return view.config_hash !== usual(rows.map((row) => row.view.config_hash))
}

function usual(hashes: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const hash of hashes) if (hash !== '') counts.set(hash, (counts.get(hash) ?? 0) + 1)
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0] ?? ''
}

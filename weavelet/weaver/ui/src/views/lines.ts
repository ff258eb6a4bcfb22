import { byUrgency } from '../text/states'
import { census, type Job, type Row, type Run } from '../stores/fleet'

/** One line of the fleet's table. */
export type Line =
  | { kind: 'run'; key: string; run: string; replicas: number; live: boolean }
  | { kind: 'job'; key: string; job: Job; open: boolean; states: [string, number][] }
  | { kind: 'replica'; key: string; job: Job; row: Row }

export interface Filter {
  text: string
  /** Empty: all states. */
  states: readonly string[]
}

/**
 * The table's lines. Jobs that are not the newest are closed unless named in `opened`, the newest
 * open unless named there. What does not pass the filter is left out, with headings of nothing.
 */
export function linesOf(runs: readonly Run[], filter: Filter, opened: ReadonlySet<string>): Line[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean)
  const filtered = words.length > 0 || filter.states.length > 0
  const lines: Line[] = []
  for (const { run, jobs } of runs) {
    const heading = lines.length
    let replicas = 0
    for (const job of jobs) {
      const rows = job.rows.filter((row) => passes(row, words, filter.states))
      const named = !filtered || rows.length > 0 || (filter.states.length === 0 && has(`${run} ${job.job.job}`, words))
      if (!named) continue
      replicas += rows.length
      const key = `${run}\u0000${job.job.job}`
      const open = filtered ? rows.length > 0 : job.job.newest !== opened.has(key)
      const states = [...census(job.rows)].sort(([a], [b]) => byUrgency(a, b))
      lines.push({ kind: 'job', key: `j${key}`, job, open, states })
      if (open) lines.push(...rows.map((row) => replicaLine(job, row)))
    }
    if (lines.length === heading) continue
    const live = jobs.some((job) => job.job.live)
    lines.splice(heading, 0, { kind: 'run', key: `r${run}`, run, replicas, live })
  }
  return lines
}

export function replicaLine(job: Job, row: Row): Line {
  const { run, job: name, replica, incarnation } = row.view
  return { kind: 'replica', key: `p${run}\u0000${name}\u0000${replica}\u0000${incarnation}`, job, row }
}

function passes({ view }: Row, words: readonly string[], states: readonly string[]): boolean {
  if (states.length > 0 && !states.includes(view.state)) return false
  const text = [view.run, view.job, view.replica, view.state, view.host, view.device, view.section ?? '', view.reason ?? '']
  return has(text.join(' '), words)
}

function has(text: string, words: readonly string[]): boolean {
  const lower = text.toLowerCase()
  return words.every((word) => lower.includes(word))
}

import { writeJson } from '../json/exact'
import type { EntryUpdate, EntryView, OutcomeView } from '../protocol'

const URGENT = ['failed', 'rejected', 'unknown', 'expired']

/** One replica's line: what it said, or that it owes an answer. */
export interface Line {
  readonly replica: string
  readonly outcome: OutcomeView | null
}

/** Replicas of which all said the same; `outcome` is what the first of them said. */
export interface Group {
  readonly replicas: readonly string[]
  readonly outcome: OutcomeView | null
  /** The first and the last step at which it happened, null where none is known. */
  readonly steps: readonly [number, number] | null
}

/** All replicas that an entry was addressed to or that adopted it, those that owe an answer last. */
export function linesOf(update: EntryUpdate): Line[] {
  const answered = new Set(update.outcomes.filter((one) => !one.adopted).map((one) => one.replica))
  const owing = update.entry.addressed.filter((replica) => !answered.has(replica))
  return [
    ...update.outcomes.map((outcome) => ({ replica: outcome.replica, outcome })),
    ...owing.map((replica) => ({ replica, outcome: null })),
  ]
}

/** The lines put together where replicas said the same, what went wrong first. */
export function groupsOf(update: EntryUpdate): Group[] {
  const found = new Map<string, { replicas: string[]; outcome: OutcomeView | null; steps: [number, number] | null }>()
  for (const { replica, outcome } of linesOf(update)) {
    const key = outcome === null ? '' : writeJson([outcome.outcome, outcome.adopted, outcome.reason, outcome.changes, outcome.result])
    const known = found.get(key) ?? { replicas: [], outcome, steps: null }
    found.set(key, known)
    known.replicas.push(replica)
    const step = outcome?.step ?? null
    if (step !== null) known.steps = known.steps === null ? [step, step] : [Math.min(known.steps[0], step), Math.max(known.steps[1], step)]
  }
  return [...found.values()].sort((one, other) => place(one) - place(other))
}

/** The word for one replica's outcome of an entry. */
export function outcomeWord(entry: EntryView, outcome: OutcomeView | null, settled: boolean): string {
  if (outcome === null) return settled ? 'no answer' : 'waiting'
  return wordOf(entry, outcome) + (outcome.adopted ? ' (adopted)' : '')
}

/** Where an entry is in its life, in words: `applied 3/4, rejected 1/4`, `waiting for 4 of 4`. */
export function stateOf(update: EntryUpdate): string {
  const lines = linesOf(update).filter((line) => line.outcome?.adopted !== true)
  const all = lines.length
  if (all === 0) return update.state
  const counts = new Map<string, number>()
  for (const { outcome } of lines) {
    if (outcome === null) continue
    const word = wordOf(update.entry, outcome)
    counts.set(word, (counts.get(word) ?? 0) + 1)
  }
  const said = [...counts].map(([word, count]) => `${word} ${count}/${all}`)
  const waiting = lines.filter((line) => line.outcome === null).length
  if (waiting === 0) return said.join(', ')
  const state = counts.size === 0 ? [update.state] : said
  return [...state, update.settled ? `no answer from ${waiting}` : `waiting for ${waiting} of ${all}`].join(', ')
}

/** The colour that a state or an outcome stands in. */
export function colourOf(state: string): string {
  if (state === 'applied') return 'success'
  if (state === 'failed' || state === 'rejected') return 'error'
  if (state === 'expired' || state === 'unknown' || state === 'mixed') return 'warning'
  return 'info'
}

/** `812`, or `812 to 815` where replicas did it at different steps. */
export function stepsText(steps: Group['steps']): string {
  if (steps === null) return ''
  return steps[0] === steps[1] ? String(steps[0]) : `${steps[0]} to ${steps[1]}`
}

function wordOf(entry: EntryView, { outcome, reason }: OutcomeView): string {
  if (entry.kind === 'set' && entry.body['dry_run'] === true && outcome === 'skipped') return 'would apply'
  // Only a set has anything to roll back, and its handlers may fail at that, too.
  if (entry.kind === 'set' && outcome === 'failed' && !reason?.includes('could not set back')) return 'failed and rolled back'
  return outcome
}

/** Its place among others: what went wrong first, what is still owed last. */
function place({ outcome }: Group): number {
  if (outcome === null) return URGENT.length + 1
  const at = URGENT.indexOf(outcome.outcome)
  return at < 0 ? URGENT.length : at
}

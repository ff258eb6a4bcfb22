import type { EntryUpdate, EntryView, Json, OutcomeView } from '../protocol'
import { isRecord, writeJson } from '../json/exact'
import { show, showBare } from './wording'

const LONGEST = 120
const WORDS: Readonly<Record<string, string>> = {
  accepted: 'accepted',
  delivered: 'delivered',
  applied: 'applied',
  rejected: 'rejected',
  failed: 'failed and rolled back',
  expired: 'expired',
  skipped: 'skipped',
  unknown: 'unknown',
}

/** One replica's line: what it said, or that it owes an answer. */
export interface Line {
  readonly replica: string
  readonly outcome: OutcomeView | null
}

/** What an entry asks for: `set lr = 0.01`, `run save(path='x')`, `pause for 600 s`. */
export function whatOf(entry: EntryView): string {
  const body: Record<string, Json> = entry.body
  const reason = typeof body['reason'] === 'string' && body['reason'] !== '' ? `: ${cut(body['reason'])}` : ''
  switch (entry.kind) {
    case 'set':
      return `${body['dry_run'] === true ? 'try' : 'set'} ${pairs(body['values'], ' = ', showBare)}`
    case 'act':
      return `run ${cut(showBare(body['name']))}(${pairs(body['arguments'], '=', show)})`
    case 'pause':
      return typeof body['lease'] === 'number' ? `pause for ${body['lease']} s` : 'pause'
    case 'notice':
      return `notice ${cut(showBare(body['kind']))}`
    default:
      return entry.kind + reason
  }
}

/** Where an entry is in its life, in words: `applied 3/4, rejected 1/4`, `waiting for 4 of 4`. */
export function stateOf(update: EntryUpdate): string {
  const lines = linesOf(update).filter((line) => line.outcome?.adopted !== true)
  const all = lines.length
  if (all === 0) return WORDS[update.state] ?? update.state
  const counts = new Map<string, number>()
  for (const { outcome } of lines) {
    if (outcome !== null) counts.set(outcome.outcome, (counts.get(outcome.outcome) ?? 0) + 1)
  }
  const said = [...counts].map(([kind, count]) => `${WORDS[kind] ?? kind} ${count}/${all}`)
  const waiting = lines.filter((line) => line.outcome === null).length
  if (waiting === 0) return said.join(', ')
  const state = counts.size === 0 ? [WORDS[update.state] ?? update.state] : said
  return [...state, update.settled ? `no answer from ${waiting}` : `waiting for ${waiting} of ${all}`].join(', ')
}

/** The colour that a state or an outcome stands in. */
export function colourOf(state: string): string {
  if (state === 'applied') return 'success'
  if (state === 'failed' || state === 'rejected') return 'error'
  if (state === 'expired' || state === 'unknown' || state === 'mixed') return 'warning'
  return 'info'
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

/** The word for one replica's outcome. */
export function outcomeWord(outcome: OutcomeView | null, settled: boolean): string {
  if (outcome === null) return settled ? 'no answer' : 'waiting'
  return (WORDS[outcome.outcome] ?? outcome.outcome) + (outcome.adopted ? ' (adopted)' : '')
}

/** A result as it is shown: text as it is, all else as JSON over several lines; null if there is none. */
export function resultText(result: unknown): string | null {
  if (result === null || result === undefined) return null
  return typeof result === 'string' ? result : writeJson(result, 2)
}

/** The moment of an entry, in the reader's own time. */
export function whenOf(time: number): string {
  const date = new Date(1000 * time)
  return Number.isNaN(date.getTime()) ? '' : date.toLocaleString(undefined, { dateStyle: 'short', timeStyle: 'medium' })
}

/** What a search looks through. */
export function searchable(update: EntryUpdate): string {
  const { entry } = update
  const replicas = linesOf(update).map((line) => `${line.replica} ${line.outcome?.reason ?? ''}`)
  return [whatOf(entry), entry.author, entry.id, update.state, ...replicas].join('\n').toLowerCase()
}

function pairs(fields: Json | undefined, sign: string, words: (value: unknown) => string): string {
  if (!isRecord(fields)) return ''
  const all = Object.entries(fields).map(([name, value]) => `${cut(name)}${sign}${cut(words(value))}`)
  return all.length > 8 ? `${all.slice(0, 8).join(', ')} and ${all.length - 8} more` : all.join(', ')
}

function cut(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST).replace(/[\ud800-\udbff]$/, '')}…` : text
}

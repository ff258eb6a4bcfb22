import type { EntryUpdate, OutcomeView } from '../protocol'
import type { ChartMark } from './chart'
import { isRecord } from '../json/exact'
import { showBare } from './wording'

const LONGEST = 200

/** What was applied, and at which step: for every entry one mark at each step that it took hold. */
export function marksOf(updates: readonly EntryUpdate[]): ChartMark[] {
  const marks = updates.flatMap(marksOfEntry)
  return marks.sort((one, other) => one.step - other.step)
}

/** One place on the axis and the marks that are drawn there as one. */
export interface MarkGroup {
  readonly position: number
  readonly marks: readonly ChartMark[]
}

/** Marks from left to right, those nearer than `apart` to the first of a group put together. */
export function grouped(marks: readonly ChartMark[], position: (mark: ChartMark) => number, apart: number): MarkGroup[] {
  const placed = marks.map((mark) => ({ mark, at: position(mark) })).sort((one, other) => one.at - other.at)
  const groups: { position: number; marks: ChartMark[] }[] = []
  for (const { mark, at } of placed) {
    const last = groups.at(-1)
    if (last !== undefined && at - last.position < apart) last.marks.push(mark)
    else groups.push({ position: at, marks: [mark] })
  }
  return groups
}

/** `step 812: lr 0.1 -> 0.01 by operator@laptop`. */
export function markText(mark: ChartMark): string {
  return `step ${mark.step}: ${mark.text} by ${mark.author}`
}

function marksOfEntry(update: EntryUpdate): ChartMark[] {
  const { kind, author } = update.entry
  const found = new Map<string, ChartMark & { replicas: string[] }>()
  for (const outcome of update.outcomes) {
    if (outcome.outcome !== 'applied' || outcome.step === null) continue
    const text = textOf(update, outcome)
    const key = `${outcome.step} ${text}`
    const known = found.get(key)
    if (known !== undefined) known.replicas.push(outcome.replica)
    else found.set(key, { step: outcome.step, text, author, kind, replicas: [outcome.replica] })
  }
  const all = [...found.values()]
  return all.map(({ step, text, replicas }) => {
    // Only where replicas differ does it matter which.
    const where = all.length > 1 ? ` on ${short(replicas.join(', '))}` : ''
    return { step, text: text + where, author, kind }
  })
}

function textOf(update: EntryUpdate, outcome: OutcomeView): string {
  const { kind, body } = update.entry
  if (outcome.changes.length > 0) {
    const changes = outcome.changes.map(
      (change) => `${short(change.name)} ${short(showBare(change.old))} -> ${short(showBare(change.new))}`,
    )
    return changes.join(', ') + (outcome.adopted ? ' (adopted)' : '')
  }
  if (kind === 'act' && isRecord(body)) return short(showBare(body['name']))
  if (kind === 'notice' && isRecord(body)) return `notice ${short(showBare(body['kind']))}`
  return kind
}

function short(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST).replace(/[\ud800-\udbff]$/, '')}…` : text
}

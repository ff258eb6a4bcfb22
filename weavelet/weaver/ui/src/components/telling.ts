import type { EntryUpdate, EntryView, Json } from '../protocol'
import { isRecord, writeJson } from '../json/exact'
import { asNumber } from './numbers'
import { groupsOf, linesOf, stepsText } from './outcomes'
import { show, showBare } from './wording'

const LONGEST = 120

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
      return asNumber(body['lease']) === undefined ? 'pause' : `pause for ${asNumber(body['lease'])} s`
    case 'notice':
      return `notice ${cut(showBare(body['kind']))}`
    default:
      return entry.kind + reason
  }
}

/** What came of an entry, in a line: why it went wrong, what it gave back, or what it changed. */
export function gistOf(update: EntryUpdate): string {
  const [first] = groupsOf(update)
  const outcome = first?.outcome
  if (first === undefined || !outcome) return ''
  const result = resultText(outcome.result)
  const changes = outcome.changes.slice(0, 8).map((change) => `${cut(change.name)}: ${cut(showBare(change.old))} → ${cut(showBare(change.new))}`)
  const what = outcome.reason && outcome.reason !== 'dry run' ? outcome.reason : (result ?? changes.join(', '))
  const step = stepsText(first.steps)
  return [...(step === '' ? [] : [`step ${step}`]), ...(what === '' ? [] : [what.slice(0, 300)])].join(' · ')
}

/** A result as it is shown: text as it is, all else as JSON over several lines; null if there is none. */
export function resultText(result: unknown): string | null {
  if (result === null || result === undefined) return null
  return typeof result === 'string' ? result : writeJson(result, 2)
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

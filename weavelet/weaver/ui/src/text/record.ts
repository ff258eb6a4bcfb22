import { writeJson } from '../json/exact'
import type { EntryUpdate, Json, OutcomeView } from '../protocol'

const RECORD_VERSION = 1

/** A job's log as `weavelet export` writes it: the lines that a replay reads. */
export function recordLines(updates: readonly EntryUpdate[]): string {
  return updates
    .flatMap((update) => update.outcomes.map((outcome) => record(update, outcome)))
    .filter((one) => one !== null)
    .map((one) => `${writeJson(one)}\n`)
    .join('')
}

/** Everything that is known of each entry, one JSON object a line. */
export function logLines(updates: readonly EntryUpdate[]): string {
  return updates
    .map(({ entry, state, settled, outcomes }) => `${writeJson({ entry, state, settled, outcomes })}\n`)
    .join('')
}

function record({ entry }: EntryUpdate, outcome: OutcomeView): Record<string, Json> | null {
  const kinds = ['set', 'act']
  if (outcome.outcome !== 'applied' || outcome.step === null || !kinds.includes(entry.kind)) return null
  const place = {
    kind: entry.kind,
    version: RECORD_VERSION,
    run: entry.run,
    job: entry.job,
    replica: outcome.replica,
    incarnation: outcome.incarnation,
    sequence: entry.sequence,
    entry: entry.id,
    author: entry.author,
    time: entry.time,
    step: outcome.step,
    adopted: outcome.adopted,
  }
  if (entry.kind === 'act') {
    return { ...place, action: entry.body.name ?? '', arguments: entry.body.arguments ?? {} }
  }
  const changes = outcome.changes.map(({ name, old, new: value }) => ({ name, old, new: value }))
  return { ...place, values: entry.body.values ?? {}, changes }
}

/** Hand a text to the browser as a file. */
export function download(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'application/jsonl' }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  // Not at once: some browsers begin to read only later.
  setTimeout(() => {
    URL.revokeObjectURL(url)
  }, 60_000)
}

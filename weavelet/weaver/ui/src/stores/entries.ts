import { defineStore } from 'pinia'
import { computed, shallowRef } from 'vue'

import type { EntryUpdate, Error as Refusal, Log } from '../protocol'
import { keyOf } from './fleet'

/**
 * Why nothing is seen of a command. It was `refused` or is not in the log (`unsent`); of what is
 * `unknown` the log will tell. `code` is the weaver's word for it, empty if it is not from there.
 */
export interface Trouble {
  readonly kind: 'refused' | 'unsent' | 'unknown'
  readonly code: string
  readonly text: string
}

/** A command of this page. Without entry and trouble it is on its way; `chosen` is what its entry will be. */
export interface Sent {
  readonly id: string
  readonly chosen: string
  readonly run: string
  readonly job: string
  readonly kind: string
  readonly what: string
  readonly entry: string | null
  readonly trouble: Trouble | null
}

export interface Entries {
  readonly updates: ReadonlyMap<string, EntryUpdate>
  readonly sent: readonly Sent[]
}

export const EMPTY: Entries = { updates: new Map(), sent: [] }
/** The weaver's word where it cannot tell whether something was written. */
const UNAVAILABLE = 'unavailable'
const MOST_SENT = 50
const MOST_ENTRIES = 5000

/** An entry's fate; the same entry told again replaces what was told before. */
export function foldEntry(entries: Entries, update: EntryUpdate): Entries {
  const updates = new Map(entries.updates)
  updates.set(update.entry.id, update)
  while (updates.size > MOST_ENTRIES) updates.delete(updates.keys().next().value as string)
  const sent = entries.sent.map((one) => (one.chosen === update.entry.id ? stored(one) : one))
  return { updates, sent }
}

/** The log of a job is the whole truth about its entries, also of commands that were not answered. */
export function foldLog(entries: Entries, log: Log): Entries {
  const others = [...entries.updates].filter(
    ([, { entry }]) => entry.run !== log.run || entry.job !== log.job,
  )
  const told = log.entries.map((update): [string, EntryUpdate] => [update.entry.id, update])
  const held = new Set(log.entries.map(({ entry }) => entry.id))
  const sent = entries.sent.map((one) => (one.run === log.run && one.job === log.job ? lookedUp(one, held) : one))
  return { updates: new Map([...others, ...told].slice(-MOST_ENTRIES)), sent }
}

function lookedUp(one: Sent, held: ReadonlySet<string>): Sent {
  if (held.has(one.chosen)) return stored(one)
  // What the weaver could not say either may be in a log that it has not read back yet.
  if (one.trouble?.kind !== 'unknown' || one.trouble.code !== '') return one
  const text = 'The connection was lost before an answer came, and the log does not hold it.'
  return { ...one, trouble: { kind: 'unsent', code: '', text } }
}

function stored(one: Sent): Sent {
  return { ...one, entry: one.chosen, trouble: null }
}

export function foldSent(entries: Entries, sent: Sent): Entries {
  return { ...entries, sent: [...entries.sent, sent].slice(-MOST_SENT) }
}

export function foldRefusal(entries: Entries, refusal: Refusal): Entries {
  const known = refusal.known.length > 0 ? ` Known: ${refusal.known.slice(0, 8).join(', ')}.` : ''
  const text = /[.!?]$/.test(refusal.text) ? refusal.text : `${refusal.text}.`
  const kind = refusal.code === UNAVAILABLE ? 'unknown' : 'refused'
  return trouble(entries, (one) => one.id === refusal.id, { kind, code: refusal.code, text: text + known })
}

/** The connection went away: what was not answered yet may have been carried out or not. */
export function foldLost(entries: Entries): Entries {
  const text = 'The connection was lost before an answer came. It is looked for in the log once that is back.'
  return trouble(entries, isOpen, { kind: 'unknown', code: '', text })
}

/** What a form is told of a command: why it was not done, null if it was or may have been. */
export function refusalOf(sent: Sent | undefined): Trouble | null {
  const why = sent?.trouble ?? null
  return why?.kind === 'unknown' ? null : why
}

/** Whether nothing was heard of a command yet. */
export function isOpen(sent: Sent): boolean {
  return sent.entry === null && sent.trouble === null
}

function trouble(entries: Entries, which: (one: Sent) => boolean, why: Trouble): Entries {
  const sent = entries.sent.map((one) => (which(one) ? { ...one, trouble: why } : one))
  return { ...entries, sent }
}

/** The entries of one job in the order of its log. */
export function ofJob(entries: Entries, run: string, job: string): EntryUpdate[] {
  const key = keyOf(run, job)
  return [...entries.updates.values()]
    .filter(({ entry }) => keyOf(entry.run, entry.job) === key)
    .sort((a, b) => a.entry.sequence - b.entry.sequence)
}

export const useEntries = defineStore('entries', () => {
  const entries = shallowRef<Entries>(EMPTY)
  const sent = computed(() => entries.value.sent)

  function dismiss(id: string): void {
    entries.value = { ...entries.value, sent: entries.value.sent.filter((one) => one.id !== id) }
  }

  return {
    entries,
    sent,
    entry: (update: EntryUpdate) => (entries.value = foldEntry(entries.value, update)),
    log: (log: Log) => (entries.value = foldLog(entries.value, log)),
    asked: (one: Sent) => (entries.value = foldSent(entries.value, one)),
    refused: (refusal: Refusal) => (entries.value = foldRefusal(entries.value, refusal)),
    lost: () => (entries.value = foldLost(entries.value)),
    dismiss,
  }
})

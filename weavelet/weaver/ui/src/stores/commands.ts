import { defineStore } from 'pinia'

import { bytesOf, grouped } from '../connection/fitting'
import { writeJson } from '../json/exact'
import type { Json, ReadHistory } from '../protocol'
import { useConnection } from './connection'
import { useEntries } from './entries'
import type { Wanted } from './samples'

/** To whom a command goes, and when. No replicas: all of the job. */
export interface Scope {
  run: string
  job: string
  replicas: string[]
  atStep: number | null
}

/** What can be commanded, apart from where. */
export type Order =
  | { type: 'update_config'; values: Record<string, Json>; expect: Record<string, Json>; dry_run: boolean }
  | { type: 'action'; name: string; arguments: Record<string, Json> }
  | { type: 'pause'; lease: number | null }
  | { type: 'resume' }
  | { type: 'stop'; reason: string }
  | { type: 'freeze'; reason: string }
  | { type: 'unfreeze' }

/** By chance: other pages choose too. */
function entryId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Sends commands, and notes what was sent so that its fate can be shown. */
export const useCommands = defineStore('commands', () => {
  const connection = useConnection()
  const entries = useEntries()

  function command(scope: Scope, order: Order, what: string): void {
    const id = connection.next()
    const chosen = entryId()
    const where = { id, run: scope.run, job: scope.job, replicas: scope.replicas, at_step: scope.atStep, entry: chosen }
    const problem = connection.send({ ...order, ...where })
    const trouble = problem === null ? null : { kind: 'unsent' as const, code: '', text: problem }
    const { run, job } = scope
    entries.asked({ id, chosen, run, job, kind: order.type, what, entry: null, trouble })
  }

  function readLog(run: string, job: string): void {
    connection.send({ type: 'read_log', id: connection.next(), run, job })
  }

  /** Ask for the past. Returns the metrics whose names are too long to be asked for. */
  function readHistory(what: Wanted, points: number): readonly string[] {
    const { run, job } = what
    const [replicas, names] = [[...what.replicas], [...what.names]]
    if (replicas.length === 0 || names.length === 0) return []
    const request = (some: string[]): ReadHistory => ({ type: 'read_history', id: connection.next(), run, job, replicas, names: some, points })
    const { groups, left } = grouped(names, bytesOf(writeJson(request([]))))
    for (const group of groups) connection.send(request(group))
    return left
  }

  return { command, readLog, readHistory }
})

import { defineStore } from 'pinia'

import { writeJson } from '../json/exact'
import { MAX_MESSAGE_BYTES, type ClientMessage, type Json } from '../protocol'
import { useConnection } from './connection'
import { useEntries } from './entries'

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

/** Sends commands, and notes what was sent so that its fate can be shown. */
export const useCommands = defineStore('commands', () => {
  const connection = useConnection()
  const entries = useEntries()

  function command(scope: Scope, order: Order, what: string): void {
    const id = connection.next()
    const where = { id, run: scope.run, job: scope.job, replicas: scope.replicas, at_step: scope.atStep }
    const problem = send({ ...order, ...where })
    const trouble = problem === null ? null : { code: '', text: problem }
    const { run, job } = scope
    entries.asked({ id, run, job, kind: order.type, what, entry: null, trouble })
  }

  function send(message: ClientMessage): string | null {
    const bytes = new TextEncoder().encode(writeJson(message)).length
    if (bytes > MAX_MESSAGE_BYTES) {
      return `Not sent: it has ${bytes} bytes, and the weaver takes at most ${MAX_MESSAGE_BYTES}.`
    }
    return connection.send(message) ? null : 'Not sent: there is no connection to the weaver.'
  }

  function readLog(run: string, job: string): void {
    connection.send({ type: 'read_log', id: connection.next(), run, job })
  }

  function readHistory(run: string, job: string, replicas: string[], names: string[], points: number): void {
    if (replicas.length === 0 || names.length === 0) return
    const id = connection.next()
    connection.send({ type: 'read_history', id, run, job, replicas, names, points })
  }

  return { command, readLog, readHistory }
})

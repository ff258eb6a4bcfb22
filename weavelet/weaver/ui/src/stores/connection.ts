import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'

import { Batch, frames } from '../connection/batch'
import { browser } from '../connection/browser'
import { backoff, Link, UNCONNECTED, type Phase, type World } from '../connection/link'
import { enter, takeToken, type Entered } from '../connection/enter'
import type { ClientMessage, Error as Refusal, ServerMessage, Snapshot } from '../protocol'
import { useDevices } from './devices'
import { useEntries } from './entries'
import { useFleet } from './fleet'
import { useRules } from './rules'
import { useSamples } from './samples'

const FRAME = 80

/** The connection, and the one place where what comes over it is handed to the other stores. */
export const useConnection = defineStore('connection', () => {
  const phase = ref<Phase>('connecting')
  const why = ref('')
  /** What became of the token in the link, while there is no way in. */
  const entered = ref<Entered>('none')
  const role = ref<Snapshot['role']>('viewer')
  const server = ref('')
  /** When the connection was lost, in milliseconds of `Date.now()`; null while what is shown is true. */
  const lostAt = ref<number | null>(null)
  /** Counts the snapshots that were asked for: after each, everything else must be asked for again. */
  const epoch = ref(0)
  /** What was last refused without being a command of this page. */
  const complaint = shallowRef<Refusal | null>(null)
  const live = computed(() => phase.value === 'open' && lostAt.value === null && epoch.value > 0)

  const stores = {
    fleet: useFleet(),
    entries: useEntries(),
    samples: useSamples(),
    devices: useDevices(),
    rules: useRules(),
  }
  const pending = new Map<string, readonly string[]>()
  let scope: readonly string[] = []
  let wanted: { runs: string[]; metrics: boolean } = { runs: [], metrics: false }
  let link: Link | null = null
  let world: World = browser

  function take(messages: ServerMessage[]): void {
    const at = performance.now()
    for (const message of messages) {
      try {
        fold(message, at)
      } catch (error) {
        // The boundary: what one message holds must not keep the page from the next.
        console.error('a message of the weaver could not be taken in', error)
      }
    }
  }

  function fold(message: ServerMessage, at: number): void {
    switch (message.type) {
      case 'snapshot':
        meet(message, at)
        break
      case 'status_update':
        stores.fleet.update(message, at)
        stores.devices.told(message.devices)
        stores.rules.told(message.rules)
        break
      case 'metrics':
        stores.samples.add(message)
        break
      case 'history':
        stores.samples.fill(message)
        break
      case 'entry':
        stores.entries.entry(message)
        break
      case 'log':
        stores.entries.log(message)
        break
      case 'error':
        if (stores.entries.sent.some((one) => one.id === message.id)) stores.entries.refused(message)
        else complaint.value = message
        break
      case 'removed':
        break
    }
  }

  function meet(snapshot: Snapshot, at: number): void {
    const asked = pending.get(snapshot.id)
    if (asked !== undefined) scope = asked
    stores.fleet.snapshot(snapshot, scope, at)
    stores.devices.told(snapshot.devices)
    stores.rules.told(snapshot.rules)
    role.value = snapshot.role
    server.value = snapshot.server
    // Of several that were asked for, the last is for what is shown now.
    if (asked !== undefined) {
      pending.delete(snapshot.id)
      if (pending.size > 0) return
    }
    lostAt.value = null
    complaint.value = null
    epoch.value += 1
  }

  function turn(now: Phase, reason: string): void {
    if (now !== 'open') batch.flush()
    if (now !== 'open' && lostAt.value === null && epoch.value > 0) lostAt.value = Date.now()
    if (now !== 'open') {
      pending.clear()
      stores.entries.lost()
    }
    phase.value = now
    why.value = reason
  }

  const batch = new Batch<ServerMessage>(frames(FRAME), take)

  function connect(): void {
    link?.stop()
    link = new Link(world, {
      phase: turn,
      message: (message) => {
        batch.add(message)
      },
      subscribed: (id, runs) => {
        pending.set(id, runs)
      },
    })
    link.watch(wanted.runs, wanted.metrics)
    link.start()
  }

  /** Go in with the token in the address bar, if there is one, and connect. */
  async function start(outside: World = browser): Promise<void> {
    world = outside
    const token = takeToken(location, history)
    if (token !== null) await admit(token)
    if (entered.value !== 'wrong') connect()
  }

  async function admit(token: string): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      entered.value = await enter(token, fetch)
      if (entered.value === 'wrong') phase.value = 'locked'
      if (entered.value !== 'unreachable') return
      // The token is out of the address bar: only this page still has it.
      const wait = backoff(attempt, Math.random())
      await new Promise((resolve) => setTimeout(resolve, wait))
    }
  }

  /** Be told of these runs from now on (none: of all). */
  function watch(runs: string[], metrics: boolean): void {
    wanted = { runs, metrics }
    link?.watch(runs, metrics)
  }

  /** Returns why it was not sent, null if it was. */
  function send(message: ClientMessage): string | null {
    return link === null ? UNCONNECTED : link.send(message)
  }

  return {
    phase,
    why,
    entered,
    role,
    server,
    lostAt,
    epoch,
    complaint,
    live,
    start,
    watch,
    send,
    next: () => link?.next() ?? '',
    hurry: () => link?.hurry(),
    offline: () => link?.forsake('This machine has no network.'),
    dismiss: () => (complaint.value = null),
    take,
  }
})

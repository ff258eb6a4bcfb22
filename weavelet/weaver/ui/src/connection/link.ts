import { writeJson } from '../json/exact'
import { MAX_MESSAGE_BYTES, VERSION, type ClientMessage, type ServerMessage } from '../protocol'
import { bytesOf } from './fitting'
import { Pulse } from './pulse'
import { readMessage } from './reading'

/**
 * `locked`: the weaver does not know us; `outdated`: it speaks another version than this page. Both
 * end the attempts to connect, until `start` is called again.
 */
export type Phase = 'connecting' | 'open' | 'lost' | 'locked' | 'outdated'

/** The part of a WebSocket that is used here. */
export interface Socket {
  onopen: ((event: Event) => void) | null
  onclose: ((event: CloseEvent) => void) | null
  onmessage: ((event: MessageEvent) => void) | null
  send(text: string): void
  close(): void
}

export interface World {
  open(): Socket
  /** What the weaver answers to a plain request for the WebSocket's path; null if nothing does. */
  probe(): Promise<number | null>
  later(run: () => void, milliseconds: number): () => void
  random(): number
}

export interface Listener {
  phase(phase: Phase, why: string): void
  message(message: ServerMessage): void
  /** A snapshot with this id will come, of these runs (none: of all). */
  subscribed(id: string, runs: readonly string[]): void
}

export const UNCONNECTED = 'Not sent: there is no connection to the weaver.'
const FIRST_WAIT = 250
const LONGEST_WAIT = 3000
const OPENING = 10_000
const UNAUTHORIZED = 401

/** How long to wait before attempt `attempt` (from 0), half of it by chance: pages must not return all at once. */
export function backoff(attempt: number, random: number): number {
  const most = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** Math.min(attempt, 10))
  return most / 2 + (random * most) / 2
}

let number = 0

/** One connection to the weaver that comes back by itself. It subscribes again each time. */
export class Link {
  phase: Phase = 'connecting'
  private socket: Socket | null = null
  private attempt = 0
  private cancel: () => void = () => undefined
  private subscription: { runs: string[]; metrics: boolean } = { runs: [], metrics: false }
  private readonly world: World
  private readonly listener: Listener
  private readonly pulse: Pulse

  constructor(world: World, listener: Listener) {
    this.world = world
    this.listener = listener
    this.pulse = new Pulse(world.later, () => {
      this.forsake('Nothing is heard of the weaver: it hangs, or the network is gone.')
    })
  }

  start(): void {
    this.stop()
    this.attempt = 0
    this.say('connecting', '')
    this.connect()
  }

  stop(): void {
    this.cancel()
    this.drop()
  }

  /** Try at once, where an attempt is waited for: the machine woke up, the network is back. */
  hurry(): void {
    if (this.phase !== 'lost' || this.socket !== null) return
    this.attempt = 0
    this.cancel()
    this.connect()
  }

  /** Give the connection up and make another: it may be open and yet lead nowhere. */
  forsake(why: string): void {
    if (this.phase !== 'open') return
    this.drop()
    void this.lost(why)
  }

  /** A number for a request, unlike all others of this page. */
  next(): string {
    number += 1
    return `p${number}`
  }

  /** What to be told from now on: of which runs (none: of all), and whether their samples too. */
  watch(runs: string[], metrics: boolean): void {
    this.subscription = { runs, metrics }
    if (this.phase === 'open') this.subscribe()
  }

  /** Send a request. Returns why it was not sent, null if it was. */
  send(message: ClientMessage): string | null {
    if (this.phase !== 'open' || this.socket === null) return UNCONNECTED
    const text = writeJson(message)
    const bytes = bytesOf(text)
    // The weaver would close the connection over it, and that of the next one too.
    if (bytes > MAX_MESSAGE_BYTES) {
      return `Not sent: it has ${bytes} bytes, and the weaver takes at most ${MAX_MESSAGE_BYTES}.`
    }
    this.socket.send(text)
    return null
  }

  private subscribe(): void {
    const id = this.next()
    this.listener.subscribed(id, this.subscription.runs)
    this.send({ type: 'subscribe', id, ...this.subscription })
  }

  private connect(): void {
    let opened = false
    const socket = this.world.open()
    this.socket = socket
    const giveUp = this.world.later(() => {
      if (!opened) socket.close()
    }, OPENING)
    this.cancel = giveUp
    socket.onopen = () => {
      opened = true
      giveUp()
      if (this.socket !== socket) return
      this.attempt = 0
      this.pulse.start()
      this.say('open', '')
      this.subscribe()
    }
    socket.onmessage = (event) => {
      if (this.socket !== socket || typeof event.data !== 'string') return
      this.pulse.beat()
      this.receive(event.data)
    }
    socket.onclose = () => {
      giveUp()
      if (this.socket !== socket) return
      this.drop()
      void this.lost(opened ? 'The weaver went away or the network broke.' : null)
    }
  }

  /** `why` is null where it never opened. */
  private async lost(why: string | null): Promise<void> {
    if (why !== null) this.say('lost', why)
    const status = why === null ? await this.world.probe() : null
    if (this.socket !== null || (this.phase !== 'lost' && this.phase !== 'connecting')) return
    if (status === UNAUTHORIZED) {
      this.say('locked', '')
      return
    }
    if (why === null) this.say('lost', explain(status))
    this.cancel = this.world.later(
      () => {
        this.connect()
      },
      backoff(this.attempt, this.world.random()),
    )
    this.attempt += 1
  }

  private receive(text: string): void {
    const message = readMessage(text)
    if (message.type === 'snapshot' && message.version !== VERSION) {
      this.drop()
      this.say('outdated', `The weaver speaks version ${message.version}, this page ${VERSION}.`)
      return
    }
    this.listener.message(message)
  }

  private drop(): void {
    const socket = this.socket
    this.socket = null
    this.pulse.stop()
    socket?.close()
  }

  private say(phase: Phase, why: string): void {
    this.phase = phase
    this.listener.phase(phase, why)
  }
}

function explain(status: number | null): string {
  if (status === null) return 'The weaver does not answer.'
  if (status === 503) return 'The weaver has too many pages open, or is only starting.'
  if (status === 403 || status === 421) {
    return 'The weaver refuses this address; start it with --allow-host.'
  }
  return 'The WebSocket cannot be opened; a proxy between may not pass it on.'
}

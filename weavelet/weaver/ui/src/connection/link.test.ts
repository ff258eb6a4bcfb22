import { describe, expect, it } from 'vitest'

import { MAX_MESSAGE_BYTES, VERSION, type ServerMessage } from '../protocol'
import { Link, backoff, type Phase, type Socket, type World } from './link'

class FakeSocket implements Socket {
  onopen: Socket['onopen'] = null
  onclose: Socket['onclose'] = null
  onmessage: Socket['onmessage'] = null
  sent: string[] = []
  closed = false
  send(text: string): void {
    this.sent.push(text)
  }
  close(): void {
    this.closed = true
  }
}

function world(status: number | null = null) {
  const sockets: FakeSocket[] = []
  const timers = new Set<() => void>()
  const phases: Phase[] = []
  const messages: ServerMessage[] = []
  const whys: string[] = []
  const outside: World = {
    open: () => {
      sockets.push(new FakeSocket())
      return sockets[sockets.length - 1] as FakeSocket
    },
    probe: () => Promise.resolve(status),
    later: (run) => {
      timers.add(run)
      return () => timers.delete(run)
    },
    random: () => 0.5,
  }
  const link = new Link(outside, {
    phase: (phase, why) => {
      phases.push(phase)
      whys.push(why)
    },
    message: (message) => messages.push(message),
    subscribed: () => undefined,
  })
  const last = () => sockets[sockets.length - 1] as FakeSocket
  const tick = () => {
    for (const run of [...timers]) {
      timers.delete(run)
      run()
    }
  }
  return { link, sockets, phases, whys, messages, last, tick, timers }
}

const snapshot = (version = VERSION) =>
  JSON.stringify({ type: 'snapshot', id: 'p1', version, server: '', role: 'operator', jobs: [], devices: [], rules: [] })
const settle = () => new Promise((resolve) => setTimeout(resolve, 0))

describe('the link', () => {
  it('subscribes as soon as it is open and hands messages on', () => {
    const { link, last, phases, messages } = world()
    link.start()
    last().onopen?.(new Event('open'))
    expect(phases).toEqual(['connecting', 'open'])
    expect(JSON.parse(last().sent[0] ?? '')).toMatchObject({ type: 'subscribe', runs: [] })
    last().onmessage?.(new MessageEvent('message', { data: snapshot() }))
    expect(messages.map((one) => one.type)).toEqual(['snapshot'])
  })

  it('sends nothing that the weaver would close the connection over', () => {
    const { link, last } = world()
    link.start()
    last().onopen?.(new Event('open'))
    const sent = last().sent.length
    const names = ['x'.repeat(MAX_MESSAGE_BYTES)]
    expect(link.send({ type: 'read_history', id: '1', run: 'train', names })).toContain('at most 65536')
    expect(link.send({ type: 'read_history', id: '1', run: 'train', names: ['loss'] })).toBeNull()
    expect(last().sent).toHaveLength(sent + 1)
  })

  it('comes back by itself and subscribes to what was last asked for', async () => {
    const { link, last, phases, sockets, tick } = world()
    link.start()
    last().onopen?.(new Event('open'))
    link.watch(['train'], true)
    last().onclose?.(new Event('close') as CloseEvent)
    await settle()
    expect(phases.at(-1)).toBe('lost')
    expect(link.send({ type: 'read_log', id: '1', run: 'train' })).toContain('no connection')
    tick()
    expect(sockets).toHaveLength(2)
    last().onopen?.(new Event('open'))
    expect(JSON.parse(last().sent[0] ?? '')).toMatchObject({ runs: ['train'], metrics: true })
  })

  it('goes on trying while nobody answers', async () => {
    const { link, last, phases, sockets, tick, whys } = world(null)
    link.start()
    for (let i = 0; i < 3; i += 1) {
      last().onclose?.(new Event('close') as CloseEvent)
      await settle()
      tick()
    }
    expect(sockets).toHaveLength(4)
    expect(phases.at(-1)).toBe('lost')
    expect(whys.at(-1)).toContain('does not answer')
  })

  it('asks for a link where the weaver does not know it', async () => {
    const { link, last, phases, timers } = world(401)
    link.start()
    last().onclose?.(new Event('close') as CloseEvent)
    await settle()
    expect(phases.at(-1)).toBe('locked')
    expect(timers.size).toBe(0)
  })

  it('stops at a weaver of another version', () => {
    const { link, last, phases, whys, messages } = world()
    link.start()
    last().onopen?.(new Event('open'))
    last().onmessage?.(new MessageEvent('message', { data: snapshot(VERSION + 1) }))
    expect(phases.at(-1)).toBe('outdated')
    expect(whys.at(-1)).toContain(`version ${VERSION + 1}`)
    expect(last().closed).toBe(true)
    expect(messages).toEqual([])
  })

  it('tries at once when told that the network is back', async () => {
    const { link, last, sockets, timers } = world()
    link.start()
    last().onopen?.(new Event('open'))
    last().onclose?.(new Event('close') as CloseEvent)
    await settle()
    link.hurry()
    link.hurry()
    expect(sockets).toHaveLength(2)
    expect(timers.size).toBe(1)
  })

  it('takes silence for a loss, and connects anew', async () => {
    const { link, last, phases, whys, sockets, tick } = world()
    link.start()
    const first = last()
    first.onopen?.(new Event('open'))
    for (let second = 0; second < 5; second += 1) tick()
    first.onmessage?.(new MessageEvent('message', { data: snapshot() }))
    for (let second = 0; second < 5; second += 1) tick()
    expect(phases.at(-1)).toBe('open')
    tick()
    expect(phases.at(-1)).toBe('lost')
    expect(whys.at(-1)).toContain('Nothing is heard')
    expect(first.closed).toBe(true)
    await settle()
    tick()
    expect(sockets).toHaveLength(2)
    last().onopen?.(new Event('open'))
    first.onclose?.(new Event('close') as CloseEvent)
    expect(phases.at(-1)).toBe('open')
  })

  it('waits longer after each silence: one large message may take its time', async () => {
    const { link, last, phases, tick } = world()
    link.start()
    last().onopen?.(new Event('open'))
    for (let second = 0; second < 6; second += 1) tick()
    await settle()
    tick()
    last().onopen?.(new Event('open'))
    for (let second = 0; second < 10; second += 1) tick()
    expect(phases.at(-1)).toBe('open')
    tick()
    expect(phases.at(-1)).toBe('lost')
  })

  it('gives an open connection up when told that the network is gone', async () => {
    const { link, last, phases, sockets, tick } = world()
    link.start()
    link.forsake('No network.')
    expect(sockets).toHaveLength(1)
    last().onopen?.(new Event('open'))
    link.forsake('No network.')
    expect(phases.at(-1)).toBe('lost')
    await settle()
    tick()
    expect(sockets).toHaveLength(2)
  })

  it('closes a connection that does not open', async () => {
    const { link, last, tick } = world()
    link.start()
    tick()
    expect(last().closed).toBe(true)
    last().onclose?.(new Event('close') as CloseEvent)
    await settle()
    expect(link.phase).toBe('lost')
  })
})

describe('backoff', () => {
  it('grows, is bounded and scattered', () => {
    expect(backoff(0, 0)).toBe(125)
    expect(backoff(0, 1)).toBe(250)
    expect(backoff(3, 1)).toBe(2000)
    expect(backoff(99, 1)).toBe(3000)
  })
})

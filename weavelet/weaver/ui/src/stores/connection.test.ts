import { createPinia, setActivePinia } from 'pinia'
import { beforeEach, describe, expect, it, vi } from 'vitest'

import type { Socket, World } from '../connection/link'
import { job, replica, snapshot } from '../testing/made'
import { useCommands } from './commands'
import { useConnection } from './connection'
import { useEntries } from './entries'
import { useFleet } from './fleet'

class FakeSocket implements Socket {
  onopen: Socket['onopen'] = null
  onclose: Socket['onclose'] = null
  onmessage: Socket['onmessage'] = null
  sent: { type: string; id: string; [field: string]: unknown }[] = []
  send(text: string): void {
    this.sent.push(JSON.parse(text) as FakeSocket['sent'][number])
  }
  close(): void {}
}

let socket: FakeSocket
const timers: (() => void)[] = []
const world: World = {
  open: () => (socket = new FakeSocket()),
  probe: () => Promise.resolve(null),
  later: (run) => {
    timers.push(run)
    return () => timers.splice(timers.indexOf(run), 1)
  },
  random: () => 0,
}

function open(): void {
  socket.onopen?.(new Event('open'))
}

function lose(): void {
  socket.onclose?.(new Event('close') as CloseEvent)
}

async function answer(states: string[], runs: string[] = ['train']): Promise<void> {
  const rows = states.map((state, i) => replica({ replica: `rank-${i}`, state }))
  const jobs = runs.map((run) => job({ run, replicas: rows.map((row) => ({ ...row, run })) }))
  const id = socket.sent.findLast((one) => one.type === 'subscribe')?.id ?? ''
  const data = JSON.stringify(snapshot(jobs, { id }))
  const before = useConnection().epoch
  socket.onmessage?.(new MessageEvent('message', { data }))
  await vi.waitFor(
    () => {
      expect(useConnection().epoch).toBe(before + 1)
    },
    { timeout: 60_000 },
  )
}

const states = () => useFleet().runs.flatMap((run) => run.jobs[0]?.rows.map(({ view }) => view.state) ?? [])

describe('the connection', () => {
  beforeEach(async () => {
    setActivePinia(createPinia())
    timers.length = 0
    await useConnection().start(world)
  })

  it('is live once the snapshot is there, not before', async () => {
    open()
    expect(useConnection().live).toBe(false)
    await answer(['running'])
    expect(useConnection().live).toBe(true)
    expect(states()).toEqual(['running'])
  })

  it('marks what is shown as old while it is lost, and until the new truth has come', async () => {
    open()
    await answer(['running'])
    lose()
    expect(useConnection().lostAt).not.toBeNull()
    expect(states()).toEqual(['running'])
    timers.pop()?.()
    open()
    expect(useConnection().live).toBe(false)
    await answer(['crashed'])
    expect(useConnection().live).toBe(true)
    expect(states()).toEqual(['crashed'])
  })

  it('keeps other runs when it looks at one, and takes back all when it looks at all', async () => {
    open()
    await answer(['running'], ['one', 'two'])
    useConnection().watch(['two'], true)
    await answer([], ['two'])
    expect(useFleet().runs.map((run) => run.run)).toEqual(['one', 'two'])
    useConnection().watch([], false)
    await answer([], ['two'])
    expect(useFleet().runs.map((run) => run.run)).toEqual(['two'])
  })

  it('says of a command that was sent into a dying connection that it may or may not have arrived', async () => {
    open()
    await answer(['running'])
    const where = { run: 'train', job: 'job-1', replicas: [], atStep: null }
    useCommands().command(where, { type: 'pause', lease: 60 }, 'pause')
    expect(socket.sent.at(-1)).toMatchObject({ type: 'pause', run: 'train', job: 'job-1', lease: 60 })
    lose()
    expect(useEntries().sent[0]?.trouble?.text).toContain('connection was lost')
    useCommands().command(where, { type: 'resume' }, 'resume')
    expect(useEntries().sent[1]?.trouble?.text).toContain('Not sent')
  })

  it('does not send what the weaver would not take', async () => {
    open()
    await answer(['running'])
    const sent = socket.sent.length
    const where = { run: 'train', job: 'job-1', replicas: [], atStep: null }
    const values = { text: 'x'.repeat(70_000) }
    useCommands().command(where, { type: 'update_config', values, expect: {}, dry_run: false }, 'set text')
    expect(socket.sent).toHaveLength(sent)
    expect(useEntries().sent[0]?.trouble?.text).toContain('at most 65536')
  })

  it('goes on after a message that it cannot take in', async () => {
    const said = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    open()
    await answer(['running'])
    const broken = { type: 'status_update', jobs: null, replicas: null, removed: null }
    socket.onmessage?.(new MessageEvent('message', { data: JSON.stringify(broken) }))
    await answer(['paused'])
    expect(states()).toEqual(['paused'])
    expect(said).toHaveBeenCalledOnce()
    said.mockRestore()
  })
})

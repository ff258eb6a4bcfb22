import { describe, expect, it } from 'vitest'

import type { StatusUpdate } from '../protocol'
import { job, replica, snapshot } from '../testing/made'
import { EMPTY, census, foldSnapshot, foldUpdate, runsOf } from './fleet'

const news = (over: Partial<StatusUpdate>): StatusUpdate => ({
  type: 'status_update',
  jobs: [],
  replicas: [],
  removed: [],
  devices: null,
  rules: null,
  ...over,
})
const states = (fleet: Parameters<typeof runsOf>[0]) =>
  runsOf(fleet).flatMap((run) =>
    run.jobs.flatMap((one) => one.rows.map(({ view }) => `${view.replica} ${view.state}`)),
  )

describe('the fleet', () => {
  const first = foldSnapshot(EMPTY, snapshot([job({ replicas: [replica()] })]), [], 0)

  it('shows what the snapshot says', () => {
    expect(states(first)).toEqual(['rank-0 running'])
  })

  it('takes a later snapshot as the whole truth', () => {
    const later = foldSnapshot(first, snapshot([job({ run: 'other' })]), [], 1)
    expect(runsOf(later).map((run) => run.run)).toEqual(['other'])
    expect(states(later)).toEqual([])
  })

  it('leaves the runs alone that a snapshot is not about', () => {
    const both = foldSnapshot(first, snapshot([job({ run: 'other' })]), ['other'], 1)
    expect(runsOf(both).map((run) => run.run)).toEqual(['other', 'train'])
    const gone = foldSnapshot(both, snapshot([]), ['other'], 2)
    expect(runsOf(gone).map((run) => run.run)).toEqual(['train'])
  })

  it('replaces a replica that changed and keeps the others', () => {
    const two = foldUpdate(first, news({ replicas: [replica({ replica: 'rank-1' })] }), 1)
    const now = foldUpdate(two, news({ replicas: [replica({ state: 'paused' })] }), 2)
    expect(states(now)).toEqual(['rank-0 paused', 'rank-1 running'])
    expect(states(two)).toEqual(['rank-0 running', 'rank-1 running'])
  })

  it('shows both rows of a conflict, and one when it is over', () => {
    const rival = replica({ incarnation: 'bb', state: 'conflict' })
    const both = foldUpdate(first, news({ replicas: [replica(), rival] }), 1)
    expect(states(both)).toEqual(['rank-0 running', 'rank-0 conflict'])
    expect(states(foldUpdate(both, news({ replicas: [replica()] }), 2))).toEqual(['rank-0 running'])
  })

  it('removes before it adds: a job may come again under its name', () => {
    const now = foldUpdate(
      first,
      news({ removed: [['train', 'job-1']], jobs: [job({ begun: 9 })] }),
      1,
    )
    expect(runsOf(now)[0]?.jobs[0]?.job.begun).toBe(9)
    expect(states(now)).toEqual([])
    expect(runsOf(foldUpdate(now, news({ removed: [['train', 'job-1']] }), 2))).toEqual([])
  })

  it('orders replicas by rank, then as people order names; jobs by the newest', () => {
    const names = ['w-10', 'w-9', 'z']
    const replicas = [
      ...names.map((name) => replica({ replica: name })),
      replica({ replica: 'second', rank: 1 }),
      replica({ replica: 'first', rank: 0 }),
    ]
    const old = job({ job: 'old', newest: false, live: false, begun: 99 })
    const fleet = foldSnapshot(EMPTY, snapshot([old, job({ replicas })]), [], 0)
    const jobs = runsOf(fleet)[0]?.jobs ?? []
    expect(jobs.map((one) => one.job.job)).toEqual(['job-1', 'old'])
    expect(jobs[0]?.rows.map((row) => row.view.replica)).toEqual(['first', 'second', 'w-9', 'w-10', 'z'])
  })

  it('counts states', () => {
    const rows = runsOf(first)[0]?.jobs[0]?.rows ?? []
    expect([...census(rows)]).toEqual([['running', 1]])
  })
})

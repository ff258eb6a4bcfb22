import { describe, expect, it } from 'vitest'

import { outcome, update } from '../testing/made'
import { EMPTY, foldEntry, foldLog, foldLost, foldRefusal, foldSent, ofJob } from './entries'

const sent = {
  id: 'p1',
  run: 'train',
  job: 'job-1',
  kind: 'update_config',
  what: 'set lr',
  entry: null,
  trouble: null,
}

describe('entries', () => {
  it('follows one from accepted to applied', () => {
    const accepted = foldEntry(EMPTY, update())
    const applied = foldEntry(accepted, update({ state: 'applied', settled: true, outcomes: [outcome()] }))
    expect(ofJob(applied, 'train', 'job-1').map((one) => one.state)).toEqual(['applied'])
    expect(ofJob(accepted, 'train', 'job-1').map((one) => one.state)).toEqual(['accepted'])
  })

  it('knows which entry became of a command of this page', () => {
    const now = foldEntry(foldSent(EMPTY, sent), update({ id: 'p1' }))
    expect(now.sent[0]?.entry).toBe('e1')
    const others = foldEntry(foldSent(EMPTY, sent), update({ id: '' }))
    expect(others.sent[0]?.entry).toBeNull()
  })

  it('says why a command was refused, and what would have been known', () => {
    const refusal = { type: 'error' as const, id: 'p1', code: 'x', text: 'no control', known: ['lr'] }
    const now = foldRefusal(foldSent(EMPTY, sent), refusal)
    expect(now.sent[0]?.trouble).toEqual({ code: 'x', text: 'no control. Known: lr.' })
  })

  it('says of commands without an answer that the connection was lost', () => {
    const answered = foldEntry(foldSent(EMPTY, sent), update({ id: 'p1' }))
    const now = foldLost(foldSent(answered, { ...sent, id: 'p2' }))
    expect(now.sent.map((one) => one.trouble !== null)).toEqual([false, true])
  })

  it('takes a log as the truth about its job, in its order, and about no other', () => {
    const before = foldEntry(
      foldEntry(EMPTY, update({}, { id: 'ghost' })),
      update({}, { id: 'other', job: 'job-2' }),
    )
    const now = foldLog(before, {
      type: 'log',
      id: 'p3',
      run: 'train',
      job: 'job-1',
      entries: [update({}, { id: 'b', sequence: 5 }), update({}, { id: 'a', sequence: 3 })],
    })
    expect(ofJob(now, 'train', 'job-1').map((one) => one.entry.id)).toEqual(['a', 'b'])
    expect(ofJob(now, 'train', 'job-2')).toHaveLength(1)
  })
})

import { describe, expect, it } from 'vitest'

import { outcome, update } from '../testing/made'
import { EMPTY, foldEntry, foldLog, foldLost, foldRefusal, foldSent, ofJob, refusalOf } from './entries'

const sent = {
  id: 'p1',
  chosen: 'e1',
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
    const others = foldEntry(foldSent(EMPTY, sent), update({ id: '' }, { id: 'e2' }))
    expect(others.sent[0]?.entry).toBeNull()
  })

  it('says why a command was refused, and what would have been known', () => {
    const refusal = { type: 'error' as const, id: 'p1', code: 'x', text: 'no control', known: ['lr'] }
    const now = foldRefusal(foldSent(EMPTY, sent), refusal)
    expect(now.sent[0]?.trouble).toEqual({ kind: 'refused', code: 'x', text: 'no control. Known: lr.' })
  })

  it('says of commands without an answer that the connection was lost', () => {
    const answered = foldEntry(foldSent(EMPTY, sent), update({ id: 'p1' }))
    const now = foldLost(foldSent(answered, { ...sent, id: 'p2', chosen: 'e2' }))
    expect(now.sent.map((one) => one.trouble?.kind)).toEqual([undefined, 'unknown'])
  })

  it('finds out by the log what became of a command whose answer was lost', () => {
    const lost = foldLost(foldSent(foldSent(EMPTY, sent), { ...sent, id: 'p2', chosen: 'e2' }))
    expect(lost.sent.map(refusalOf)).toEqual([null, null])
    const log = { type: 'log' as const, id: 'p3', run: 'train', job: 'job-1', entries: [update()] }
    const other = foldLog(lost, { ...log, job: 'job-2' })
    expect(other.sent.map((one) => one.trouble?.kind)).toEqual(['unknown', 'unknown'])
    const now = foldLog(lost, log)
    expect(now.sent.map((one) => [one.entry, one.trouble?.kind])).toEqual([['e1', undefined], [null, 'unsent']])
    const late = foldEntry(now, update({}, { id: 'e2' }))
    expect(late.sent.map((one) => [one.entry, one.trouble])).toEqual([['e1', null], ['e2', null]])
  })

  it('leaves open what the weaver itself does not know', () => {
    const refusal = { type: 'error' as const, id: 'p1', code: 'unavailable', text: 'no server', known: [] }
    const now = foldRefusal(foldSent(EMPTY, sent), refusal)
    const log = { type: 'log' as const, id: 'p3', run: 'train', job: 'job-1', entries: [] }
    expect(foldLog(now, log).sent[0]?.trouble?.kind).toBe('unknown')
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

import { describe, expect, it } from 'vitest'

import { Exact } from '../json/exact'
import type { Json } from '../protocol'
import { outcome, update } from '../testing/made'
import { figure, lossName, rate } from './figures'
import { logLines, recordLines } from './record'
import { STATES, byUrgency, lookOf } from './states'
import { ago, clock } from './times'

describe('figures', () => {
  it('shows numbers short, and what is no number as it is', () => {
    const shown = [0.000012345, 0.1 + 0.2, 12345678.9, 42, 0, true, 'NaN', '-Infinity', 'warm', null]
    expect(shown.map(figure)).toEqual([
      '1.234e-5',
      '0.3',
      '1.235e+7',
      '42',
      '0',
      'true',
      'NaN',
      '-Infinity',
      'warm',
      '',
    ])
  })

  it('says how long ago and how fast', () => {
    expect([0.4, 3.7, 119, 600, 7300, 900_000].map(ago)).toEqual(['now', '3 s', '119 s', '10 min', '2 h', '10 d'])
    expect([0, 61.237].map(rate)).toEqual(['', '61.2/s'])
  })

  it('names the day where it is another', () => {
    const noon = new Date(2030, 0, 2, 12, 0, 0)
    expect(clock(noon.getTime() / 1000, noon)).toBe('12:00:00')
    expect(clock(noon.getTime() / 1000 - 86_400, noon)).toBe('2030-01-01 12:00:00')
  })

  it('finds the loss', () => {
    expect(lossName(['lr', 'train/loss', 'loss'])).toBe('loss')
    expect(lossName(['closs_ratio', 'train_loss'])).toBe('train_loss')
    expect(lossName(['lr'])).toBeUndefined()
  })
})

describe('states', () => {
  it('has a meaning for each, and puts trouble first', () => {
    for (const state of STATES) expect(lookOf(state).meaning).not.toBe('')
    expect(lookOf('new-in-a-later-version').icon).not.toBe('')
    expect(['running', 'crashed', 'paused'].sort(byUrgency)).toEqual(['crashed', 'paused', 'running'])
  })
})

describe('the record', () => {
  const one = new Exact('1.0') as unknown as Json
  const set = update(
    {
      outcomes: [
        outcome({ changes: [{ name: 'lr', old: 0.1, new: one }] }),
        outcome({ replica: 'rank-1', outcome: 'rejected' }),
      ],
    },
    { body: { values: { lr: one }, expect: {}, dry_run: false } },
  )

  it('has a line for each replica that applied a set, with its digits', () => {
    expect(recordLines([set])).toBe(
      '{"kind":"set","version":1,"run":"train","job":"job-1","replica":"rank-0","incarnation":"aa",' +
        '"sequence":2,"entry":"e1","author":"ann","time":1000,"step":12,"adopted":false,' +
        '"values":{"lr":1.0},"changes":[{"name":"lr","old":0.1,"new":1.0}]}\n',
    )
  })

  it('has actions, and nothing that a replay does not run', () => {
    const act = update({ outcomes: [outcome()] }, { kind: 'act', body: { name: 'evaluate', arguments: {} } })
    const pause = update({ outcomes: [outcome()] }, { kind: 'pause', body: { lease: null } })
    const lines = recordLines([act, pause]).trim().split('\n')
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ kind: 'act', action: 'evaluate', arguments: {} })
  })

  it('has everything in the log', () => {
    const [line] = logLines([set]).trim().split('\n')
    expect(JSON.parse(line ?? '')).toMatchObject({ state: 'accepted', outcomes: [{}, { outcome: 'rejected' }] })
  })
})

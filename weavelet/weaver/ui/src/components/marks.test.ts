import { describe, expect, it } from 'vitest'

import { entryUpdate, outcome } from '../testing/samples'
import { grouped, markText, marksOf } from './marks'

describe('a change on the chart', () => {
  it('says step, what, from, to and who', () => {
    expect(marksOf([entryUpdate()]).map(markText)).toEqual(['step 812: lr 0.1 -> 0.01 by operator@laptop'])
  })

  it('is one for all replicas that agree, and names them where they do not', () => {
    const agreeing = entryUpdate({ outcomes: [outcome(), outcome({ replica: 'rank-1' })] })
    expect(marksOf([agreeing])).toHaveLength(1)
    const apart = entryUpdate({ outcomes: [outcome(), outcome({ replica: 'rank-1', step: 820 })] })
    expect(marksOf([apart]).map(markText)).toEqual([
      'step 812: lr 0.1 -> 0.01 on rank-0 by operator@laptop',
      'step 820: lr 0.1 -> 0.01 on rank-1 by operator@laptop',
    ])
  })

  it('is none where nothing was applied', () => {
    const refused = entryUpdate({ outcomes: [outcome({ outcome: 'rejected' }), outcome({ outcome: 'applied', step: null })] })
    expect(marksOf([refused])).toEqual([])
  })

  it('names actions, pauses and notices', () => {
    const entries = [
      entryUpdate({ entry: { kind: 'pause', body: { lease: null } }, outcomes: [outcome({ changes: [], step: 3 })] }),
      entryUpdate({ entry: { kind: 'act', body: { name: 'save', arguments: {} } }, outcomes: [outcome({ changes: [], step: 2 })] }),
      entryUpdate({ entry: { kind: 'notice', body: { kind: 'replica_failed' } }, outcomes: [outcome({ changes: [], step: 1 })] }),
    ]
    expect(marksOf(entries).map((mark) => mark.text)).toEqual(['notice replica_failed', 'save', 'pause'])
  })

  it('cuts what is too long', () => {
    const long = entryUpdate({ outcomes: [outcome({ changes: [{ name: 'x'.repeat(65536), old: 'a', new: 'b' }] })] })
    expect(marksOf([long])[0]!.text.length).toBeLessThan(300)
  })
})

describe('changes close together', () => {
  it('are one group', () => {
    const marks = [1, 2, 3, 50].map((step) => ({ step, text: `t${step}`, author: 'a', kind: 'set' }))
    const groups = grouped(marks, (mark) => mark.step, 10)
    expect(groups.map((group) => [group.position, group.marks.length])).toEqual([[1, 3], [50, 1]])
  })
})

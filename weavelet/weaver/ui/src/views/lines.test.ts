import { describe, expect, it } from 'vitest'

import { EMPTY, foldSnapshot, runsOf } from '../stores/fleet'
import { job, replica, snapshot } from '../testing/made'
import { linesOf, type Line } from './lines'

const rows = [
  replica({ replica: 'rank-0', host: 'alpha' }),
  replica({ replica: 'rank-1', state: 'crashed', reason: 'exit code 1' }),
]
const old = job({
  job: 'old',
  newest: false,
  live: false,
  begun: 0,
  replicas: [replica({ job: 'old', state: 'exited' })],
})
const runs = runsOf(foldSnapshot(EMPTY, snapshot([job({ replicas: rows }), old]), [], 0))
const brief = (line: Line) =>
  line.kind === 'run' ? line.run : line.kind === 'job' ? line.job.job.job : line.row.view.replica
const shown = (text: string, states: string[] = [], opened: string[] = []) =>
  linesOf(runs, { text, states }, new Set(opened)).map(brief)

describe("the table's lines", () => {
  it('shows the newest job open and earlier ones closed', () => {
    expect(shown('')).toEqual(['train', 'job-1', 'rank-0', 'rank-1', 'old'])
  })

  it('turns those round that were clicked', () => {
    expect(shown('', [], ['train\u0000job-1', 'train\u0000old'])).toEqual(['train', 'job-1', 'old', 'rank-0'])
  })

  it('finds by text, in any order and case', () => {
    expect(shown('ALPHA rank')).toEqual(['train', 'job-1', 'rank-0'])
    expect(shown('exit code')).toEqual(['train', 'job-1', 'rank-1'])
    expect(shown('nothing like it')).toEqual([])
  })

  it('finds by state, in earlier jobs too', () => {
    expect(shown('', ['exited', 'crashed'])).toEqual(['train', 'job-1', 'rank-1', 'old', 'rank-0'])
  })

  it('counts states with trouble first', () => {
    const line = linesOf(runs, { text: '', states: [] }, new Set()).find((one) => one.kind === 'job')
    expect(line?.states).toEqual([
      ['crashed', 1],
      ['running', 1],
    ])
  })
})

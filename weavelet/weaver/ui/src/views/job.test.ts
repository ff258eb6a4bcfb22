import { describe, expect, it } from 'vitest'

import type { ControlView } from '../protocol'
import { job as makeJob, replica } from '../testing/made'
import { controlsOf, differences, metricNames, whyNot } from './job'

const control = (name: string, value: number, kind: ControlView['kind'] = 'control'): ControlView => ({
  name,
  kind,
  schema: {},
  value,
})
const row = (over: Parameters<typeof replica>[0]) => ({ view: replica(over), at: 0 })
const rows = [
  row({ controls: [control('lr', 0.1), control('seed', 1)], config_hash: 'one' }),
  row({
    replica: 'rank-1',
    controls: [control('lr', 0.2), control('seed', 1), control('save', 0, 'action')],
    config_hash: 'two',
  }),
]

describe('a job', () => {
  it('has the controls and actions of all its replicas', () => {
    expect(controlsOf(rows).map((one) => one.name)).toEqual(['lr', 'seed', 'save'])
  })

  it('says where replicas hold different values', () => {
    expect(differences(rows)).toEqual({ lr: { 'rank-0': 0.1, 'rank-1': 0.2 } })
  })

  it('takes values that only a schedule moves for the same', () => {
    const alike = rows.map(({ view }) => row({ ...view, config_hash: 'abc' }))
    expect(differences(alike)).toEqual({})
    alike[1]!.view.config_hash = 'def'
    expect(Object.keys(differences(alike))).toEqual(['lr'])
  })

  it('says why it takes no commands', () => {
    const job = { job: makeJob(), rows }
    const frozen = { job: makeJob({ frozen_by: 'ann' }), rows }
    const over = { job: makeJob(), rows: [row({ state: 'exited' })] }
    expect(whyNot(job, true, 'operator')).toEqual({ all: '', whileFrozen: '' })
    expect(whyNot(job, false, 'operator').all).toContain('Not connected')
    expect(whyNot(job, true, 'viewer').whileFrozen).toContain('may look, not command')
    expect(whyNot(over, true, 'operator').all).toContain('runs any more')
    expect(whyNot(frozen, true, 'operator').all).toContain('Frozen by ann')
    expect(whyNot(frozen, true, 'operator').whileFrozen).toBe('')
  })

  it('draws metrics that are numbers, the loss first', () => {
    const metrics = { accuracy: 1, phase: 'warm', 'val/loss': 'NaN', loss: 2, done: true, m10: 0, m9: 0 }
    expect(metricNames([row({ metrics })])).toEqual(['loss', 'val/loss', 'accuracy', 'done', 'm9', 'm10'])
  })
})

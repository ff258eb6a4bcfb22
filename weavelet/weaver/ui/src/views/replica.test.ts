import { describe, expect, it } from 'vitest'

import { replica } from '../testing/made'
import { heardOf, lastHeard, lossOf, rateOf } from './replica'

const row = (over: Parameters<typeof replica>[0], at = 0) => ({ view: replica(over), at })

describe('a replica in figures', () => {
  it('has a rate while it makes steps', () => {
    expect(rateOf(row({ rate: 61.237 }))).toBe('61.2/s')
    expect(rateOf(row({ rate: 61.237, state: 'crashed' }))).toBe('')
  })

  it('was heard when it was, seen from now', () => {
    expect(heardOf(row({ heard: 2 }, 1000), 4000)).toBe('5 s')
    expect(heardOf(row({ heard: null }), 4000)).toBe('')
    const noon = new Date(2030, 0, 2, 12, 0, 0)
    expect(lastHeard(row({ heard: 60 }, noon.getTime() - performance.timeOrigin), noon)).toBe('11:59:00')
  })

  it('has the loss that it reports', () => {
    expect(lossOf(row({ metrics: { 'val/loss': 0.00012345678 } }))).toBe('0.00012346')
    expect(lossOf(row({ metrics: { accuracy: 1 } }))).toBe('')
  })
})

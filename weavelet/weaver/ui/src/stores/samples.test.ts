import { createPinia, setActivePinia } from 'pinia'
import { beforeEach, describe, expect, it } from 'vitest'

import type { History, Json, Metrics } from '../protocol'
import { MOST_POINTS, emptyRing, numberOf, push, useSamples } from './samples'

const metrics = (steps: number[], columns: Record<string, Json[]>): Metrics => ({
  type: 'metrics',
  run: 'train',
  job: 'job-1',
  replica: 'rank-0',
  steps,
  at: steps,
  columns,
  incarnation: 'aa',
  first: steps[0] ?? 0,
})
const past = (steps: number[], values: Json[]): History => ({
  type: 'history',
  id: 'p1',
  run: 'train',
  job: 'job-1',
  replica: 'rank-0',
  series: { loss: { steps, at: steps, min: values, max: values, mean: values } },
  last: true,
  complete: true,
})
const wanted = { run: 'train', job: 'job-1', replicas: ['rank-0'], names: ['loss'] }

describe('a ring', () => {
  it('is bounded, keeps its beginning and what is not finite', () => {
    const ring = emptyRing()
    for (let step = 0; step < 3 * MOST_POINTS; step += 1) push(ring, step, step, step === 7 ? NaN : step)
    expect(ring.steps.length).toBeLessThanOrEqual(MOST_POINTS)
    expect(ring.steps[0]).toBe(0)
    expect(ring.steps.at(-1)).toBe(3 * MOST_POINTS - 1)
    expect(ring.values.filter((value) => Number.isNaN(value))).toHaveLength(1)
    expect(Math.max(...ring.max.filter(Number.isFinite))).toBe(3 * MOST_POINTS - 1)
    expect([...ring.steps].sort((a, b) => a - b)).toEqual(ring.steps)
  })

  it('is bounded even if no two neighbours can be merged', () => {
    const ring = emptyRing()
    for (let step = 0; step < 2 * MOST_POINTS; step += 1) push(ring, step, step, step % 2 ? NaN : 1)
    expect(ring.steps.length).toBeLessThanOrEqual(MOST_POINTS)
    expect(ring.values).toHaveLength(ring.steps.length)
  })

  it('replaces what is trained once more', () => {
    const ring = emptyRing()
    for (const step of [1, 2, 3, 2]) push(ring, step, 0, step * 10)
    expect(ring.steps).toEqual([1, 2])
  })
})

describe('samples', () => {
  beforeEach(() => {
    setActivePinia(createPinia())
  })

  it('keeps what is drawn and nothing else', () => {
    const samples = useSamples()
    samples.want(wanted)
    samples.add(metrics([1, 2], { loss: [0.5, null], lr: [1, 1] }))
    samples.add({ ...metrics([3], { loss: [9] }), job: 'job-0' })
    expect(samples.ring('rank-0', 'loss')).toMatchObject({ steps: [1], values: [0.5] })
    expect(samples.ring('rank-0', 'lr')).toBeUndefined()
  })

  it('puts the past before what came live meanwhile', () => {
    const samples = useSamples()
    samples.want(wanted)
    samples.add(metrics([4, 5], { loss: [4, 5] }))
    samples.fill(past([1, 2, 4], [1, 'NaN', 4]))
    expect(samples.ring('rank-0', 'loss')).toMatchObject({ steps: [1, 2, 4, 5], values: [1, NaN, 4, 5] })
  })

  it('marks where samples are missing, and takes the mark away once the past is there', () => {
    const samples = useSamples()
    samples.want(wanted)
    samples.add(metrics([1, 2], { loss: [1, 2] }))
    samples.add(metrics([3], { loss: [3] }))
    expect(samples.gaps).toBe(0)
    samples.add(metrics([7, 8], { loss: [7, 8] }))
    expect(samples.gaps).toBe(1)
    expect(samples.ring('rank-0', 'loss')?.breaks).toEqual([7])
    samples.fill(past([1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7]))
    expect(samples.ring('rank-0', 'loss')).toMatchObject({ steps: [1, 2, 3, 4, 5, 6, 7, 8], breaks: [] })
    samples.add({ ...metrics([9], { loss: [9] }), incarnation: 'bb', first: 0 })
    expect(samples.gaps).toBe(1)
  })

  it('keeps what it has where the weaver does not have all of the past back, and asks again', () => {
    const samples = useSamples()
    samples.want(wanted)
    samples.add(metrics([1, 2, 3, 9], { loss: [1, 2, 3, 9] }))
    samples.fill({ ...past([6, 7], [6, 7]), complete: false })
    expect(samples.ring('rank-0', 'loss')).toMatchObject({ steps: [1, 2, 3, 6, 7, 9], breaks: [6, 9] })
    samples.fill({ ...past([], []), complete: false })
    expect(samples.ring('rank-0', 'loss')?.steps).toEqual([1, 2, 3, 6, 7, 9])
    expect(samples.gaps).toBe(2)
  })

  it('counts the changes of each metric, so that only its chart is drawn again', () => {
    const samples = useSamples()
    samples.want(wanted)
    const before = samples.versions.get('loss') ?? 0
    samples.add(metrics([1], { lr: [1] }))
    expect(samples.versions.get('loss')).toBe(before)
    samples.add(metrics([2], { loss: ['-Infinity'] }))
    expect(samples.versions.get('loss')).toBe(before + 1)
  })

  it('takes metrics with names that every object has for metrics', () => {
    const samples = useSamples()
    samples.want({ ...wanted, names: ['constructor', '__proto__'] })
    samples.add(metrics([1], { loss: [1] }))
    expect(samples.ring('rank-0', 'constructor')).toBeUndefined()
    samples.add(metrics([2], JSON.parse('{"__proto__": [5], "constructor": [6]}') as Record<string, Json[]>))
    expect(samples.ring('rank-0', 'constructor')?.values).toEqual([6])
    expect(samples.ring('rank-0', '__proto__')?.values).toEqual([5])
  })

  it('forgets what is drawn no more', () => {
    const samples = useSamples()
    samples.want(wanted)
    samples.add(metrics([1], { loss: [1] }))
    samples.want({ ...wanted, names: ['lr'] })
    samples.want(wanted)
    expect(samples.ring('rank-0', 'loss')).toBeUndefined()
  })

  it('reads numbers as the API writes them', () => {
    expect(numberOf('NaN')).toBeNaN()
    expect(numberOf('-Infinity')).toBe(-Infinity)
    expect(numberOf(true)).toBe(1)
    expect(numberOf('warm')).toBeNull()
    expect(numberOf(null)).toBeNull()
  })
})

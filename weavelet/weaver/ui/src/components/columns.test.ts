import { describe, expect, it } from 'vitest'

import type { ChartSeries } from './chart'
import { columns, extent } from './columns'

function series(steps: number[], values: number[], more: Partial<ChartSeries> = {}): ChartSeries {
  return { replica: 'rank-0', steps, values, ...more }
}

describe('several series over one axis', () => {
  it('have a place for every step, null where one has no sample', () => {
    const made = columns([series([0, 2], [1, 3]), series([1, 2], [5, 6])], 'step', [0, 2], 100, false)
    expect(made.x).toEqual([0, 1, 2])
    expect(made.mean).toEqual([[1, null, 3], [null, 5, 6]])
    expect(made.banded).toEqual([false, false])
  })

  it('keep the least and greatest of points that stand for many', () => {
    const made = columns([series([0, 8], [1, 2], { min: [0.5, 1], max: [3, 4] })], 'step', [0, 8], 100, false)
    expect([made.low, made.high, made.mean, made.banded]).toEqual([[[0.5, 1]], [[3, 4]], [[1, 2]], [true]])
  })

  it('are thinned to columns that lose no extreme', () => {
    const steps = Array.from({ length: 10_000 }, (_, at) => at)
    const values = steps.map((step) => (step === 7777 ? 1000 : step === 3333 ? -1000 : step % 2))
    const made = columns([series(steps, values)], 'step', [0, 9999], 500, false)
    expect(made.x.length).toBe(500)
    expect(Math.max(...made.high[0]!.map(Number))).toBe(1000)
    expect(Math.min(...made.low[0]!.map(Number))).toBe(-1000)
    expect([made.x[0], made.x.at(-1)]).toEqual([0, 9999])
    const far = made.high[0]!.indexOf(1000)
    expect(Math.abs(made.x[far]! - 7777)).toBeLessThan(20)
    expect(made.mean[0]![250]).toBeCloseTo(0.5)
  })

  it('show a part of it whole when it is zoomed into, with a neighbour on either side', () => {
    const steps = Array.from({ length: 10_000 }, (_, at) => at)
    const made = columns([series(steps, steps)], 'step', [100, 110], 500, false)
    expect(made.x[0]).toBe(99)
    expect(made.x).toContain(110)
    expect(made.x.length).toBeLessThan(16)
  })

  it('are unequally long and unequally dense', () => {
    const dense = Array.from({ length: 5000 }, (_, at) => at)
    const made = columns([series(dense, dense), series([0, 4999], [1, 2]), series([], [])], 'step', [0, 4999], 100, false)
    expect(made.mean[1]!.filter((value) => value !== null)).toEqual([1, 2])
    expect(made.mean[2]!.every((value) => value === null)).toBe(true)
  })

  it('lie over time where that is asked for', () => {
    const made = columns([series([0, 1], [5, 6], { at: [1000.5, 1002] })], 'time', [1000, 1003], 10, false)
    expect(made.x).toEqual([1000.5, 1002])
    expect(extent([series([0, 1], [5, 6], { at: [1000.5, 1002] })], 'time')).toEqual([1000.5, 1002])
  })
})

describe('what cannot be drawn', () => {
  it('is a mark at the edge, never a point of the line', () => {
    const made = columns([series([0, 1, 2, 3], [1, NaN, Infinity, -Infinity])], 'step', [0, 3], 10, false)
    expect(made.mean[0]).toEqual([1, null, null, null])
    expect(made.odd.map(({ x, kind, edge }) => [x, kind, edge])).toEqual([
      [1, 'NaN', 'top'],
      [2, 'Infinity', 'top'],
      [3, '-Infinity', 'bottom'],
    ])
  })

  it('is counted where columns are shared, and leaves the finite ones alone', () => {
    const steps = Array.from({ length: 1000 }, (_, at) => at)
    const made = columns([series(steps, steps.map((step) => (step % 100 === 0 ? NaN : 1)))], 'step', [0, 999], 10, false)
    expect(made.odd.reduce((sum, one) => sum + one.count, 0)).toBe(10)
    expect(made.mean[0]!.every((value) => value === 1)).toBe(true)
  })

  it('includes what is not positive on a logarithmic scale', () => {
    const made = columns([series([0, 1, 2], [1, 0, -2])], 'step', [0, 2], 10, true)
    expect(made.odd.map(({ kind, edge }) => [kind, edge])).toEqual([['<= 0', 'bottom'], ['<= 0', 'bottom']])
    expect(made.mean[0]).toEqual([1, null, null])
  })

  it('does not pull the band of a logarithmic scale below zero', () => {
    const made = columns([series([0], [1], { min: [-1], max: [2] })], 'step', [0, 1], 10, true)
    expect(made.low[0]).toEqual([1])
  })
})

describe('without samples', () => {
  it('there is no extent, and a single step is one', () => {
    expect(extent([], 'step')).toBeNull()
    expect(extent([series([], [])], 'step')).toBeNull()
    expect(extent([series([5], [1])], 'step')).toEqual([5, 5])
    expect(columns([series([5], [1])], 'step', [5, 5], 10, false).mean).toEqual([[1]])
  })
})

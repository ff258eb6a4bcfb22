import { describe, expect, it } from 'vitest'

import { columns } from './columns'
import { factorOf, plotData, tickText, valueRange } from './plotting'

function drawn(values: number[], logScale = false) {
  const steps = values.map((_value, at) => at)
  return columns([{ replica: 'a', steps, values }], 'step', [0, values.length - 1], 100, logScale)
}

describe('the values of a chart', () => {
  it.each([
    [[1, 2, 3], 1],
    [[0, 0], 1],
    [[1e308, -1e308], 1e306],
    [[1, 4.2e23], 1e22],
    [[3e-20], 1e-21],
    [[], 1],
  ])('%j are divided by %f to be drawn', (values, factor) => {
    expect(factorOf(drawn(values), false) / factor).toBeCloseTo(1)
  })

  it('leave room above and below, also where all are equal', () => {
    for (const [low, high] of [[0, 1], [5, 5], [0, 0], [-1e3, 1e3], [1e15, 1e15]] as const) {
      const [from, to] = valueRange(low, high)
      expect([low, from < low, high, to > high]).toEqual([low, true, high, true])
    }
    expect(valueRange(null, null)).toEqual([0, 1])
  })

  it('are their logarithms on a logarithmic scale, whatever their size', () => {
    const [, , , mean] = plotData(drawn([1e-300, 1, 1e308], true), 1, true)
    expect([...(mean ?? [])].map((value) => Math.round(value ?? NaN))).toEqual([-300, 0, 308])
  })

  it('lead over what another series has alone, and break where samples are missing or are odd', () => {
    const one = { replica: 'a', steps: [0, 2, 3, 4, 8], values: [0, 2, NaN, 4, 8], breaks: [8] }
    const other = { replica: 'b', steps: [1, 5], values: [1, 5] }
    const data = plotData(columns([one, other], 'step', [0, 8], 100, false), 1, false)
    expect(data[0]).toEqual([0, 1, 2, 3, 4, 5, 6, 8])
    expect(data[3]).toEqual([0, undefined, 2, null, 4, null, null, 8])
    expect(data[6]).toEqual([undefined, 1, undefined, undefined, undefined, 5, undefined, undefined])
  })

  it('break also where many share a column', () => {
    const steps = Array.from({ length: 1000 }, (_, at) => (at < 500 ? at : at + 1000))
    const one = { replica: 'a', steps, values: steps.map((step) => (step === 200 ? NaN : step)), breaks: [1500] }
    const data = plotData(columns([one], 'step', [0, 1999], 100, false), 1, false)
    expect([...(data[3] ?? [])].filter((value) => value === null).length).toBeGreaterThan(10)
    expect(data[3]).toHaveLength(data[0].length)
  })

  it.each([
    [0.1, '0.1'],
    [12345678, '1.23457e7'],
    [-1e-7, '-1e-7'],
    [0, '0'],
    [0.30000000000000004, '0.3'],
    [NaN, 'NaN'],
    [Infinity, 'Infinity'],
  ])('%f is written %s', (value, text) => {
    expect(tickText(value)).toBe(text)
  })
})

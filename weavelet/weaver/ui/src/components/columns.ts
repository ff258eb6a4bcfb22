import type { ChartSeries } from './chart'

export type Axis = 'step' | 'time'
export type Range = readonly [number, number]

/** A place where a value cannot be drawn: `edge` is where its mark stands. */
export interface Oddity {
  readonly series: number
  readonly x: number
  readonly edge: 'top' | 'bottom'
  readonly kind: 'NaN' | 'Infinity' | '-Infinity' | '<= 0'
  readonly count: number
}

/**
 * Several series over one axis. `x` ascends; `low`, `high` and `mean` have a list for each series
 * and in it an item for each x, null where the series has nothing there. `banded` says of which
 * series low and high differ anywhere, `torn` at which x a line breaks, by series: samples are
 * missing there, or cannot be drawn.
 */
export interface Columns {
  readonly x: readonly number[]
  readonly low: readonly (number | null)[][]
  readonly high: readonly (number | null)[][]
  readonly mean: readonly (number | null)[][]
  readonly banded: readonly boolean[]
  readonly torn: readonly boolean[][]
  readonly odd: readonly Oddity[]
}

/** The least and greatest x of all series, null without samples. */
export function extent(series: readonly ChartSeries[], axis: Axis): Range | null {
  let low = Infinity
  let high = -Infinity
  for (const one of series) {
    const xs = along(one, axis)
    for (const x of xs) {
      if (x < low) low = x
      if (x > high) high = x
    }
  }
  return low <= high ? [low, high] : null
}

/**
 * What lies in `range`, and the nearest samples outside it, in at most about `most` columns. As
 * long as they fit, every sample has its own place; beyond that, neighbours share a column. What
 * is not finite, or not positive on a logarithmic scale, is in `odd` and nowhere else.
 */
export function columns(
  series: readonly ChartSeries[],
  axis: Axis,
  range: Range,
  most: number,
  logScale: boolean,
): Columns {
  const grid = places(series, axis, range, most) ?? even(range, most)
  const made = series.map((one, index) => fill(one, index, axis, range, grid, logScale))
  const used = grid.exact ? null : usedOf(made, grid.x.length)
  const keep = <T>(items: readonly T[]): T[] => (used === null ? [...items] : used.map((at) => items[at] as T))
  return {
    x: keep(grid.x),
    low: made.map((one) => keep(one.low)),
    high: made.map((one) => keep(one.high)),
    mean: made.map((one) => keep(one.mean)),
    banded: made.map((one) => one.banded),
    torn: made.map((one) => keep(one.torn)),
    odd: made.flatMap((one) => one.odd),
  }
}

interface Grid {
  readonly x: readonly number[]
  readonly exact: boolean
  place(x: number): number
}

function along(series: ChartSeries, axis: Axis): readonly number[] {
  return axis === 'time' ? (series.at ?? []) : series.steps
}

/** Positions of the first and last sample in the range, with one more on either side. */
function window(xs: readonly number[], range: Range): readonly [number, number] {
  return [Math.max(0, firstAtLeast(xs, range[0]) - 1), Math.min(xs.length, firstAtLeast(xs, range[1] + Number.EPSILON * Math.abs(range[1])) + 2)]
}

function firstAtLeast(xs: readonly number[], x: number): number {
  let low = 0
  let high = xs.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((xs[middle] as number) < x) low = middle + 1
    else high = middle
  }
  return low
}

function places(series: readonly ChartSeries[], axis: Axis, range: Range, most: number): Grid | null {
  const found = new Set<number>()
  for (const one of series) {
    const xs = along(one, axis)
    const [from, to] = window(xs, range)
    if (to - from > most) return null
    for (let at = from; at < to; at++) found.add(xs[at] as number)
    for (const x of between(one, xs, from, to)) found.add(x)
    if (found.size > most) return null
  }
  const x = [...found].sort((a, b) => a - b)
  const index = new Map(x.map((value, at) => [value, at]))
  return { x, exact: true, place: (value) => index.get(value) ?? -1 }
}

/** Places within the holes of a series, where its line can break. */
function between(series: ChartSeries, xs: readonly number[], from: number, to: number): number[] {
  return (series.breaks ?? []).flatMap((step) => {
    const at = firstAtLeast(series.steps, step)
    return at > from && at < to ? [((xs[at - 1] as number) + (xs[at] as number)) / 2] : []
  })
}

function even(range: Range, most: number): Grid {
  const [low, high] = range
  const width = (high - low) / most || 1
  const x = Array.from({ length: most }, (_, at) => low + (at + 0.5) * width)
  // The ends are those of the range, so that a line reaches them.
  x[0] = low
  x[most - 1] = high
  return { x, exact: false, place: (value) => Math.min(most - 1, Math.max(0, Math.floor((value - low) / width))) }
}

interface Filled {
  readonly low: (number | null)[]
  readonly high: (number | null)[]
  readonly mean: (number | null)[]
  banded: boolean
  readonly torn: boolean[]
  readonly odd: Oddity[]
}

function fill(series: ChartSeries, index: number, axis: Axis, range: Range, grid: Grid, logScale: boolean): Filled {
  const size = grid.x.length
  const made: Filled = { low: Array<number | null>(size).fill(null), high: Array<number | null>(size).fill(null), mean: Array<number | null>(size).fill(null), banded: false, torn: Array<boolean>(size).fill(false), odd: [] }
  const breaks = new Set(series.breaks)
  let [last, tears] = [-1, false]
  const sums = new Float64Array(size)
  const counts = new Uint32Array(size)
  const odd = new Map<string, { x: number; edge: 'top' | 'bottom'; kind: Oddity['kind']; count: number }>()
  const xs = along(series, axis)
  const [from, to] = window(xs, range)
  for (let at = from; at < to; at++) {
    const x = xs[at] as number
    if (!grid.exact && (x < range[0] || x > range[1])) continue
    const place = grid.place(x)
    if (place < 0) continue
    const value = series.values[at] ?? NaN
    const kind = oddness(value, logScale)
    if (kind !== null || breaks.has(series.steps[at] as number)) tears = true
    if (kind !== null) {
      const key = `${place} ${kind}`
      const known = odd.get(key)
      if (known === undefined) odd.set(key, { x: grid.x[place] as number, edge: edgeOf(kind), kind, count: 1 })
      else known.count++
      continue
    }
    if (tears && last >= 0) made.torn.fill(true, last + 1, place)
    ;[last, tears] = [place, false]
    const low = series.min?.[at] ?? value
    const high = series.max?.[at] ?? value
    const lowest = made.low[place]
    const highest = made.high[place]
    const least = logScale && low <= 0 ? value : low
    made.low[place] = lowest === null || lowest === undefined || least < lowest ? least : lowest
    made.high[place] = highest === null || highest === undefined || high > highest ? high : highest
    sums[place] = (sums[place] as number) + value
    counts[place] = (counts[place] as number) + 1
  }
  for (let place = 0; place < size; place++) {
    const count = counts[place] as number
    if (count === 0) continue
    made.mean[place] = (sums[place] as number) / count
    if (!made.banded && made.low[place] !== made.high[place]) made.banded = true
  }
  for (const one of odd.values()) made.odd.push({ series: index, ...one })
  return made
}

function usedOf(made: readonly Filled[], size: number): number[] {
  const used: number[] = []
  for (let place = 0; place < size; place++) {
    if (made.some((one) => one.mean[place] !== null || one.torn[place])) used.push(place)
  }
  return used
}

function oddness(value: number, logScale: boolean): Oddity['kind'] | null {
  if (Number.isNaN(value)) return 'NaN'
  if (value === Infinity) return 'Infinity'
  if (value === -Infinity) return '-Infinity'
  return logScale && value <= 0 ? '<= 0' : null
}

function edgeOf(kind: Oddity['kind']): 'top' | 'bottom' {
  return kind === '-Infinity' || kind === '<= 0' ? 'bottom' : 'top'
}

import { clock } from '../text/times'
import type { ChartMark, ChartSeries } from './chart'
import type { Axis, Columns, Oddity, Range } from './columns'
import { markText } from './marks'
import { tickText } from './plotting'

/** What one series has at a column: its mean, and what cannot be drawn. */
export function reading(columns: Columns, series: number, at: number | null): string {
  if (at === null) return ''
  const mean = columns.mean[series]?.[at] ?? null
  const odd = columns.odd.filter((one) => one.series === series && one.x === columns.x[at]).map(oddText)
  return [...(mean === null ? [] : [tickText(mean)]), ...odd].join(', ')
}

/** Between which values one series was at a column that several samples share; empty where one is alone. */
export function bandAt(columns: Columns, series: number, at: number | null): string {
  const low = at === null ? null : (columns.low[series]?.[at] ?? null)
  const high = at === null ? null : (columns.high[series]?.[at] ?? null)
  return low !== null && high !== null && low !== high ? `${tickText(low)} to ${tickText(high)}` : ''
}

/** Where on the x axis: `step 812`, or the time. */
export function placeText(x: number, axis: Axis): string {
  return axis === 'time' ? clock(x) : `step ${Math.round(x)}`
}

/** The last value of a series, `-` without one. */
export function lastValue(series: ChartSeries): string {
  const last = series.values.at(-1)
  return last === undefined ? '-' : tickText(last)
}

/** A chart in words, for those who do not see it. */
export function chartInWords(
  name: string,
  series: readonly ChartSeries[],
  marks: readonly ChartMark[],
  range: Range | null,
  odd: readonly Oddity[],
  axis: Axis,
): string {
  if (range === null) return `${name}: no samples yet`
  const parts = series.slice(0, 10).map((one) => `${one.replica.slice(0, 80)} last ${lastValue(one)}`)
  if (series.length > 10) parts.push(`${series.length - 10} more replicas`)
  const count = odd.reduce((sum, one) => sum + one.count, 0)
  if (count > 0) parts.push(`${count} ${count === 1 ? 'value' : 'values'} not drawn as points: ${[...new Set(odd.map((one) => one.kind))].join(', ')}`)
  const recent = marks.slice(-5).map(markText)
  if (recent.length > 0) parts.push(`changes: ${recent.join('; ')}`)
  return `${name} from ${placeText(range[0], axis)} to ${placeText(range[1], axis)}: ${parts.join(', ')}`
}

function oddText(odd: Oddity): string {
  return odd.count > 1 ? `${odd.count} x ${odd.kind}` : odd.kind
}

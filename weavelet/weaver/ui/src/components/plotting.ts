import uPlot from 'uplot'

import type { ChartSeries } from './chart'
import type { Axis, Columns, Range } from './columns'

const LIGHT = ['#1f5fbf', '#b3431b', '#1b7a3d', '#8a2f94', '#8a6100', '#0d7583', '#a8275a', '#4b5563', '#5b4bc4', '#5f7a00']
const DARK = ['#7db2ff', '#ff9b73', '#76d991', '#dd94ea', '#f2c14e', '#66d3e2', '#ff8db8', '#b6bfca', '#ada2ff', '#b9d65a']
const MARK = 5
/** Steps between ticks of a logarithmic scale, in powers of ten. */
const DECADES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500]

/** What a chart is drawn in. */
export interface Ink {
  readonly text: string
  readonly grid: string
  readonly mark: string
  line(series: number): string
  band(series: number): string
}

/** The colours of a theme. */
export function inkOf(dark: boolean): Ink {
  const colours = dark ? DARK : LIGHT
  const colour = (series: number) => colours[series % colours.length] as string
  return {
    text: dark ? '#c9d1d9' : '#3a4350',
    grid: dark ? 'rgba(255, 255, 255, 0.1)' : 'rgba(0, 0, 0, 0.1)',
    mark: dark ? '#f2c14e' : '#8a5300',
    line: colour,
    band: (series) => `${colour(series)}33`,
  }
}

/** What a plot asks of the component around it, each time anew. */
export interface Plotted {
  readonly series: readonly ChartSeries[]
  readonly axis: Axis
  readonly logScale: boolean
  ink(): Ink
  view(): Range
  columns(): Columns
  /** What values are divided by to be drawn. */
  factor(): number
  marks(): readonly number[]
  moved(index: number | null): void
  chosen(range: Range): void
  cleared(): void
  drawn(): void
}

/** uPlot's options for a chart: three lines for each series, of which low and high bound a band. */
export function plotOptions(plotted: Plotted, width: number, height: number): uPlot.Options {
  const { axis, logScale } = plotted
  const ticks = { stroke: () => plotted.ink().grid, width: 1 }
  const axes = { stroke: () => plotted.ink().text, grid: ticks, ticks, font: '12px system-ui, sans-serif' }
  return {
    width,
    height,
    pxAlign: 0,
    legend: { show: false },
    scales: {
      x: { time: axis === 'time', range: () => [...plotted.view()] },
      // Logarithms on a linear scale: uPlot's own has no ticks beyond 1e17.
      y: { range: (_plot, low, high) => valueRange(low, high) },
    },
    axes: [{ ...axes, size: 32 }, { ...axes, ...(logScale ? { incrs: DECADES } : {}), size: 64, values: (_plot, splits) => splits.map((split) => valueText(split, plotted)) }],
    series: [{}, ...plotted.series.flatMap((_one, index) => lines(index, plotted))],
    bands: plotted.series.map((_one, index) => ({
      series: [3 * index + 1, 3 * index + 2],
      fill: () => plotted.ink().band(index),
    })),
    cursor: {
      y: false,
      points: { show: false },
      drag: { x: true, y: false, setScale: false },
      bind: {
        dblclick: () => () => {
          plotted.cleared()
          return null
        },
      },
    },
    hooks: {
      setCursor: [(plot) => plotted.moved(plot.cursor.idx ?? null)],
      setSelect: [(plot) => select(plot, plotted)],
      draw: [
        (plot) => {
          drawMarks(plot, plotted)
          drawOddities(plot, plotted)
          plotted.drawn()
        },
      ],
    },
  }
}

/**
 * The power of ten that values are divided by to be drawn: uPlot lays out no ticks between numbers
 * of 1e17 and more, nor between ones that differ by less than 1e-14. On a logarithmic scale it is 1.
 */
export function factorOf(columns: Columns, logScale: boolean): number {
  if (logScale) return 1
  let size = 0
  for (const lists of [columns.low, columns.high]) {
    for (const list of lists) {
      for (const value of list) if (value !== null && Math.abs(value) > size) size = Math.abs(value)
    }
  }
  if (size === 0 || (size < 1e12 && size > 1e-9)) return 1
  return 10 ** Math.min(306, Math.max(-306, Math.floor(Math.log10(size)) - 1))
}

/**
 * The columns as uPlot takes them: divided by the factor, or their logarithms. Where a series has
 * nothing they are undefined, which its line leads over, and null where that breaks.
 */
export function plotData(columns: Columns, factor: number, logScale: boolean): uPlot.AlignedData {
  const nothing = columns.x.map(() => null)
  const scale = logScale ? Math.log10 : (value: number) => value / factor
  const scaled = (values: readonly (number | null)[], index: number) =>
    values.map((value, at) => (value !== null ? scale(value) : columns.torn[index]?.[at] ? null : undefined))
  return [
    [...columns.x],
    ...columns.mean.flatMap((mean, index) =>
      columns.banded[index]
        ? [scaled(columns.high[index] ?? nothing, index), scaled(columns.low[index] ?? nothing, index), scaled(mean, index)]
        : [nothing, nothing, scaled(mean, index)],
    ),
  ]
}

/** The range to draw for what was found; one that ticks can be laid out in. */
export function valueRange(low: number | null, high: number | null): [number, number] {
  if (low === null || high === null || !Number.isFinite(low) || !Number.isFinite(high)) return [0, 1]
  const span = high - low
  const widest = Math.max(Math.abs(low), Math.abs(high))
  // Below that, neighbouring ticks would be the same number.
  const pad = Math.max(span * 0.06, widest * 1e-12, span === 0 ? Math.max(widest * 0.05, 1e-12) : 0)
  return [low - pad, high + pad]
}

/** A number on an axis or beside it. */
export function tickText(value: number | null): string {
  if (value === null) return ''
  const size = Math.abs(value)
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return Number(value.toPrecision(6)).toExponential().replace('e+', 'e')
  return String(Number(value.toPrecision(6)))
}

function valueText(split: number | null, plotted: Plotted): string {
  if (split === null) return ''
  return tickText(plotted.logScale ? Number((10 ** split).toPrecision(3)) : split * plotted.factor())
}

function lines(index: number, plotted: Plotted): uPlot.Series[] {
  const bound: uPlot.Series = { width: 0, points: { show: false } }
  const dash = [[], [6, 4], [2, 3]][Math.floor(index / 10) % 3]
  const mean: uPlot.Series = {
    stroke: () => plotted.ink().line(index),
    // Thicker ones take ten times as long where no GPU paints them.
    width: 1,
    points: { size: 4 },
  }
  return [bound, { ...bound }, dash?.length ? { ...mean, dash } : mean]
}

function select(plot: uPlot, plotted: Plotted): void {
  const { left, width } = plot.select
  if (width <= 3) return
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
  plotted.chosen([plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')])
}

function drawMarks(plot: uPlot, plotted: Plotted): void {
  const { ctx, bbox } = plot
  ctx.save()
  ctx.strokeStyle = plotted.ink().mark
  ctx.lineWidth = uPlot.pxRatio
  ctx.setLineDash([4 * uPlot.pxRatio, 3 * uPlot.pxRatio])
  ctx.beginPath()
  for (const x of plotted.marks()) {
    const at = Math.round(plot.valToPos(x, 'x', true))
    if (at < bbox.left || at > bbox.left + bbox.width) continue
    ctx.moveTo(at, bbox.top)
    ctx.lineTo(at, bbox.top + bbox.height)
  }
  ctx.stroke()
  ctx.restore()
}

function drawOddities(plot: uPlot, plotted: Plotted): void {
  const { ctx, bbox } = plot
  const size = MARK * uPlot.pxRatio
  ctx.save()
  ctx.lineWidth = 1.5 * uPlot.pxRatio
  for (const { series, x, edge, kind } of plotted.columns().odd) {
    const at = plot.valToPos(x, 'x', true)
    if (at < bbox.left || at > bbox.left + bbox.width) continue
    const y = edge === 'top' ? bbox.top + size : bbox.top + bbox.height - size
    ctx.strokeStyle = ctx.fillStyle = plotted.ink().line(series)
    ctx.beginPath()
    if (kind === 'NaN') {
      ctx.moveTo(at - size, y - size)
      ctx.lineTo(at + size, y + size)
      ctx.moveTo(at + size, y - size)
      ctx.lineTo(at - size, y + size)
      ctx.stroke()
      continue
    }
    const tip = edge === 'top' ? -size : size
    ctx.moveTo(at, y + tip)
    ctx.lineTo(at + size, y - tip)
    ctx.lineTo(at - size, y - tip)
    ctx.fill()
  }
  ctx.restore()
}

/** One replica's samples of a metric, oldest first; all lists equally long, NaN and infinities as themselves. */
export interface ChartSeries {
  replica: string
  steps: number[]
  values: number[]
  min?: number[]
  max?: number[]
  /** When, in seconds since the epoch; for charts over time. */
  at?: number[]
  /** Steps before which samples are missing: no line leads there. */
  breaks?: number[]
}

/** Something that was done at a step: what, and by whom. */
export interface ChartMark {
  step: number
  text: string
  author: string
  kind: string
}

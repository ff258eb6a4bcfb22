import { createApp, h, shallowRef } from 'vue'
import { VApp } from 'vuetify/components/VApp'
import 'vuetify/styles'

import MetricChart from '../src/components/MetricChart.vue'
import type { ChartSeries } from '../src/components/chart'
import { makeVuetify } from '../src/theme'

/** Milliseconds of each redraw: all of it, and of that the script alone. */
export interface Redraws {
  whole: number[]
  script: number[]
}

declare global {
  interface Window {
    redraws(replicas: number, points: number, times: number): Promise<Redraws>
  }
}

const series = shallowRef<ChartSeries[]>([])
let told: (milliseconds: number) => void = () => undefined

createApp(() =>
  h(VApp, () => h(MetricChart, { name: 'loss', series: series.value, height: 320, onDrawn: (took: number) => told(took) })),
)
  .use(makeVuetify('light'))
  .mount('#app')

window.redraws = async (replicas, points, times) => {
  const made = Array.from({ length: replicas }, (_, at) => curve(`rank-${at}`, points, at))
  await drawing(made)
  const found: Redraws = { whole: [], script: [] }
  for (let time = 0; time < times; time++) {
    for (const [at, one] of made.entries()) append(one, points + time, at)
    const [whole, script] = await drawing([...made])
    found.whole.push(whole)
    found.script.push(script)
  }
  return found
}

/** A canvas keeps what it is told for later; reading a pixel makes it paint. */
function drawing(next: ChartSeries[]): Promise<[number, number]> {
  return new Promise((done) => {
    told = (script) => {
      const canvas = document.querySelector('canvas')
      const began = performance.now()
      canvas?.getContext('2d')?.getImageData(0, 0, 1, 1)
      done([script + performance.now() - began, script])
    }
    series.value = next
  })
}

function curve(replica: string, points: number, seed: number): ChartSeries {
  const one: ChartSeries = { replica, steps: [], values: [], min: [], max: [] }
  for (let step = 0; step < points; step++) append(one, step, seed)
  return one
}

function append(one: ChartSeries, step: number, seed: number): void {
  const noise = Math.sin(step * 12.9898 + seed * 78.233) * 43758.5453
  const value = 2 * Math.exp(-step / 4000) + 0.3 * (noise - Math.floor(noise)) + 0.1 * seed
  one.steps.push(step)
  one.values.push(value)
  one.min?.push(value - 0.05)
  one.max?.push(value + 0.05)
}

import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'

import { withoutDrawing } from '../testing/canvas'
import { mounted, settled } from '../testing/mounting'
import type { ChartSeries } from './chart'
import MetricChart from './MetricChart.vue'

beforeAll(withoutDrawing)
afterEach(() => vi.restoreAllMocks())

function curve(replica: string, values: number[]): ChartSeries {
  return { replica, steps: values.map((_value, at) => at), values }
}

async function chart(given: Record<string, unknown>) {
  const page = mounted(MetricChart, { name: 'loss', ...given })
  await frame()
  return page
}

async function frame(): Promise<void> {
  await new Promise((done) => requestAnimationFrame(done))
  await settled()
}

function press(target: HTMLElement, key: string, more: KeyboardEventInit = {}): void {
  target.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, ...more }))
}

describe('a chart', () => {
  it('says in words what it shows', async () => {
    const page = await chart({
      series: [curve('rank-0', [3, NaN, 1]), curve('rank-1', [3, 2, Infinity])],
      marks: [{ step: 1, text: 'lr 0.1 -> 0.01', author: 'operator@laptop', kind: 'set' }],
    })
    expect(page.at('chart-plot').getAttribute('aria-label')).toBe(
      'loss from step 0 to step 2: rank-0 last 1, rank-1 last Infinity, 2 values not drawn as points: NaN, Infinity, ' +
        'changes: step 1: lr 0.1 -> 0.01 by operator@laptop',
    )
  })

  it('says that nothing came yet', async () => {
    const page = await chart({ series: [] })
    expect(page.inner.text()).toContain('No samples yet.')
    expect(page.at('chart-plot').getAttribute('aria-label')).toBe('loss: no samples yet')
  })

  it('draws once a frame, however often something is added', async () => {
    const page = await chart({ series: [curve('rank-0', [1, 2])] })
    const before = page.said('drawn').length
    const one = curve('rank-0', [1, 2])
    for (let step = 2; step < 10; step++) {
      one.steps.push(step)
      one.values.push(step)
      await page.give({ series: [one] })
    }
    await vi.waitFor(() => expect(page.said('drawn').length).toBeGreaterThan(before))
    await frame()
    expect(page.said('drawn').length - before).toBeLessThan(8)
    expect(page.at('chart-value').textContent).toBe('9')
  })

  it('is read, zoomed and moved by keys', async () => {
    const page = await chart({ series: [curve('rank-0', [10, 20, 30, 40, 50])] })
    const drawing = page.at('chart-drawing')
    press(drawing, 'Home')
    await settled()
    expect(page.at('chart-spoken').textContent).toBe('step 0: rank-0 10')
    press(drawing, 'ArrowRight')
    await settled()
    expect(page.at('chart-spoken').textContent).toBe('step 1: rank-0 20')
    expect(page.at('chart-value').textContent).toBe('20')
    press(drawing, 'End')
    press(drawing, '+')
    await settled()
    const [zoomed] = page.said('update:range').at(-1) as [[number, number]]
    expect(zoomed).toEqual([2, 4])
    press(drawing, 'ArrowLeft', { shiftKey: true })
    await settled()
    const [moved] = page.said('update:range').at(-1) as [[number, number]]
    expect(moved[0]).toBeCloseTo(1.8)
    press(drawing, 'Escape')
    await settled()
    expect(page.said('update:range').at(-1)).toEqual([null])
  })

  it('has a button to show all while zoomed, and one for its scale', async () => {
    const page = await chart({ series: [curve('rank-0', [1, 10])], range: [0, 0.5] })
    await page.click('chart-reset')
    expect(page.said('update:range').at(-1)).toEqual([null])
    await page.click('chart-log')
    expect(page.said('update:logScale')).toEqual([[true]])
  })

  it('hides a replica at a press', async () => {
    const page = await chart({ series: [curve('a', [1]), curve('b', [2])] })
    const [first] = page.all('chart-series')
    first?.click()
    await frame()
    expect(page.all('chart-value').map((one) => one.textContent)).toEqual(['hidden', '2'])
    expect(first?.getAttribute('aria-pressed')).toBe('false')
  })

  it('tells of a change when its mark is reached by keyboard', async () => {
    const marks = [{ step: 1, text: 'lr 0.1 -> 0.01', author: 'operator@laptop', kind: 'set' }]
    const page = await chart({ series: [curve('rank-0', [1, 2, 3])], marks })
    await vi.waitFor(() => expect(page.all('chart-mark')).toHaveLength(1))
    const mark = page.at('chart-mark')
    expect(mark.getAttribute('aria-label')).toBe('step 1: lr 0.1 -> 0.01 by operator@laptop')
    mark.focus()
    await settled()
    expect(page.at('chart-mark-text').textContent).toContain('step 1: lr 0.1 -> 0.01 by operator@laptop')
  })

  it('shows hostile names as text', async () => {
    const evil = `<img src=x onerror="x">\u202E ${'y'.repeat(65536)}`
    const page = await chart({ name: evil, series: [curve(evil, [1])] })
    expect(document.querySelector('img')).toBeNull()
    expect(page.inner.find('h3 bdi').attributes('title')).toBe(evil)
    expect(page.inner.find('h3').text()).not.toContain('\u202E')
  })

  it('takes more replicas as they come', async () => {
    const page = await chart({ series: [curve('a', [1])] })
    await page.give({ series: [curve('a', [1]), curve('b', [5])] })
    await frame()
    expect(page.all('chart-value').map((one) => one.textContent)).toEqual(['1', '5'])
  })
})

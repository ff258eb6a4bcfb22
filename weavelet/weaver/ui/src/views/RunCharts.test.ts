import { createPinia, setActivePinia } from 'pinia'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { mount } from '@vue/test-utils'
import { h, nextTick } from 'vue'
import { VApp } from 'vuetify/components/VApp'

import type { History } from '../protocol'
import { useCommands } from '../stores/commands'
import { usePreferences } from '../stores/preferences'
import { useSamples } from '../stores/samples'
import { withoutDrawing } from '../testing/canvas'
import { makeVuetify } from '../theme'
import RunCharts from './RunCharts.vue'

let pinia = createPinia()
const given = { run: 'train', job: 'job-1', names: ['loss', 'lr'], replicas: ['rank-0'], marks: [] }
const charts = () =>
  mount(VApp, {
    global: { plugins: [pinia, makeVuetify('light')] },
    slots: { default: () => h(RunCharts, given) },
    attachTo: document.body,
  })
const past = (complete: boolean): History => ({
  type: 'history',
  id: 'p1',
  run: 'train',
  job: 'job-1',
  replica: 'rank-0',
  series: {},
  last: true,
  complete,
})

beforeEach(() => {
  withoutDrawing()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  localStorage.clear()
  pinia = createPinia()
  setActivePinia(pinia)
})
afterEach(() => vi.useRealTimers())

it('ask again until the weaver has the past back', async () => {
  const asked = vi.spyOn(useCommands(), 'readHistory')
  const page = charts()
  expect(asked).toHaveBeenCalledOnce()
  useSamples().fill(past(false))
  await nextTick()
  vi.advanceTimersByTime(1000)
  expect(asked).toHaveBeenCalledTimes(2)
  useSamples().fill(past(true))
  await nextTick()
  vi.advanceTimersByTime(60_000)
  expect(asked).toHaveBeenCalledTimes(2)
  page.unmount()
})

it('say of which metric the past cannot be asked for', async () => {
  vi.spyOn(useCommands(), 'readHistory').mockReturnValue(['lr'])
  const page = charts()
  await nextTick()
  const told = page.findAll('[data-test="no-past"]')
  expect(told).toHaveLength(1)
  expect(told[0]?.element.closest('.chart')?.textContent).toContain('lr')
  page.unmount()
})

it('draw the first metrics until some are chosen, and none where none is', async () => {
  const page = charts()
  await nextTick()
  expect(page.findAll('[data-test="metric-chart"]')).toHaveLength(2)
  usePreferences().charts = { train: [] }
  await nextTick()
  expect(page.findAll('[data-test="metric-chart"]')).toHaveLength(0)
  page.unmount()
})

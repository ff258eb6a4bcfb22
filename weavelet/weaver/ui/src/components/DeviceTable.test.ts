import { describe, expect, it } from 'vitest'

import type { DeviceView } from '../protocol'
import { mounted } from '../testing/mounting'
import DeviceTable from './DeviceTable.vue'

const GPU: DeviceView = {
  id: 'GPU-1',
  kind: 'gpu',
  host: 'node-1',
  utilization_percent: 97,
  temperature_celsius: 71,
  memory_used_bytes: 40 * 2 ** 30,
  memory_total_bytes: 80 * 2 ** 30,
  power_watts: 412.4,
  replicas: [
    ['train', 'job-1', 'rank-0'],
    ['train', 'job-1', 'rank-1'],
  ],
}

describe('the table of devices', () => {
  it('shows what each is at', () => {
    const page = mounted(DeviceTable, { devices: [GPU] })
    const text = page.at('device-row').textContent
    for (const part of ['GPU-1', 'node-1', '97 %', '40 GiB of 80 GiB', '71 °C', '412 W']) expect(text).toContain(part)
    const bars = page.inner.findAll('[role="progressbar"]').map((bar) => bar.attributes('aria-valuenow'))
    expect(bars).toEqual(['97', '50'])
  })

  it('leads to every replica that uses it', async () => {
    const page = mounted(DeviceTable, { devices: [GPU, { ...GPU, id: 'GPU-2', replicas: [['train', 'job-1', 'rank-1']] }] })
    expect(page.all('device-replica')).toHaveLength(3)
    page.all('device-replica')[1]?.click()
    expect(page.said('open')).toEqual([['train', 'job-1', 'rank-1']])
  })

  it('shows what cannot be read as such, never as 0', () => {
    const page = mounted(DeviceTable, { devices: [{ id: 'cpu-a', kind: 'cpu', host: 'a', utilization_percent: null }] })
    expect(page.at('device-utilization').textContent?.trim()).toBe('-')
    expect(page.inner.findAll('[role="progressbar"]')).toHaveLength(0)
    expect(page.at('device-row').textContent).toContain('none')
  })

  it('is in the order that people count in, and warns of memory alone', () => {
    const devices = ['GPU-10', 'GPU-9'].map((id) => ({ ...GPU, id, utilization_percent: 100, memory_used_bytes: 79 * 2 ** 30 }))
    const page = mounted(DeviceTable, { devices })
    expect(page.all('device-row').map((row) => row.dataset['device'])).toEqual(['GPU-9', 'GPU-10'])
    const colours = page.inner.findAllComponents({ name: 'VProgressLinear' }).map((bar) => bar.props('color'))
    expect(colours).toEqual(['primary', 'warning', 'primary', 'warning'])
  })

  it('keeps its bars within bounds whatever is reported', () => {
    const page = mounted(DeviceTable, { devices: [{ ...GPU, utilization_percent: 1e9, memory_used_bytes: 5, memory_total_bytes: 0 }] })
    expect(page.inner.findAll('[role="progressbar"]').map((bar) => bar.attributes('aria-valuenow'))).toEqual(['100'])
  })

  it('says that it may be old, and that there are none', async () => {
    const page = mounted(DeviceTable, { devices: [GPU], stale: true })
    expect(page.at('device-stale').textContent).toContain('As they last were')
    await page.give({ devices: [] })
    expect(page.at('device-none').textContent).toBe('No devices are known.')
  })
})

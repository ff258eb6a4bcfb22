import { mount } from '@vue/test-utils'
import { createPinia, setActivePinia } from 'pinia'
import { beforeEach, describe, expect, it } from 'vitest'
import { VApp } from 'vuetify/components'
import { h, nextTick } from 'vue'

import { useConnection } from '../stores/connection'
import { useEntries } from '../stores/entries'
import { useFleet } from '../stores/fleet'
import { job, outcome, replica, snapshot, update } from '../testing/made'
import { makeVuetify } from '../theme'
import ConnectionBanner from './ConnectionBanner.vue'
import EnterScreen from './EnterScreen.vue'
import FleetView from './FleetView.vue'
import RecentCommands from './RecentCommands.vue'
import RunCommands from './RunCommands.vue'
import { onKey, shortcuts } from './shortcuts'

let pinia = createPinia()
const shown = (view: Parameters<typeof h>[0], props: Record<string, unknown> = {}) =>
  mount(VApp, {
    global: { plugins: [pinia, makeVuetify()] },
    slots: { default: () => h(view, props) },
    attachTo: document.body,
  })

beforeEach(() => {
  document.body.replaceChildren()
  pinia = createPinia()
  setActivePinia(pinia)
})

describe('the fleet view', () => {
  it('shows names from outside as text, and which replica is slow or different', async () => {
    const evil = '<img src=x onerror=alert(1)>'
    const rows = [
      replica({ replica: evil, config_hash: 'other' }),
      replica({ replica: 'a' }),
      replica({ replica: 'b', metrics: { loss: 'NaN' } }),
    ]
    useFleet().snapshot(snapshot([job({ slowest: 'a', diverged: 'it differs', replicas: rows })]), [], 0)
    const page = shown(FleetView)
    await nextTick()
    expect(page.find('img').exists()).toBe(false)
    const lines = page.findAll('[data-test="replica-row"]')
    const line = (name: string) => lines.find((one) => one.attributes('data-replica') === name)
    expect(line(evil)?.text()).toContain(evil)
    expect(line(evil)?.find('[data-test="differs"]').exists()).toBe(true)
    expect(line('a')?.find('[data-test="slowest"]').exists()).toBe(true)
    expect(line('b')?.find('[data-test="loss"]').text()).toBe('NaN')
    page.unmount()
  })

  it('tells all of a replica at a press on its row', async () => {
    const rows = [replica({ replica: 'a', dropped: 7, rate: 4, state: 'crashed', reason: 'exit code 1' })]
    useFleet().snapshot(snapshot([job({ replicas: rows })]), [], 0)
    const page = shown(FleetView)
    await nextTick()
    expect(page.find('[data-test="rate"]').text()).toBe('')
    await page.find('[data-test="look"]').trigger('click')
    await nextTick()
    const facts = document.querySelector('[data-test="replica-facts"]')?.textContent
    for (const part of ['exit code 1', 'reports dropped7', 'ended']) expect(facts).toContain(part)
    page.unmount()
  })

  it('says of rows that are old what they were', async () => {
    useFleet().snapshot(snapshot([job({ replicas: [replica()] })]), [], 0)
    const page = shown(FleetView)
    await nextTick()
    expect(page.find('[data-test="replica-row"] [data-test="state"]').text()).toBe('was running')
    page.unmount()
  })

  it('draws only the rows in sight of a thousand', async () => {
    const rows = Array.from({ length: 1000 }, (_, i) => replica({ replica: `rank-${i}` }))
    useFleet().snapshot(snapshot([job({ replicas: rows })]), [], 0)
    const page = shown(FleetView)
    await nextTick()
    expect(page.find('[role="table"]').attributes('aria-rowcount')).toBe('1003')
    expect(page.findAll('[data-test="replica-row"]').length).toBeLessThan(60)
    page.unmount()
  })
})

describe('commands', () => {
  const buttons = ['pause', 'resume', 'stop', 'freeze']
  const alive = { job: job(), rows: [{ view: replica(), at: 0 }] }

  it('are off with the reason beside them', () => {
    const page = shown(RunCommands, { job: alive, disabled: 'Not now.', disabledFrozen: 'Not now.', whyId: 'why' })
    expect(page.find('[data-test="why-disabled"]').text()).toBe('Not now.')
    for (const button of buttons) {
      expect(page.find(`[data-test="${button}"]`).attributes('disabled')).toBeDefined()
    }
    page.unmount()
  })

  it('leave stop and unfreeze on in a frozen job', () => {
    const frozen = { ...alive, job: job({ frozen_by: 'ann' }) }
    const page = shown(RunCommands, { job: frozen, disabled: 'Frozen by ann.', disabledFrozen: '', whyId: 'why' })
    expect(page.find('[data-test="pause"]').attributes('disabled')).toBeDefined()
    expect(page.find('[data-test="stop"]').attributes('disabled')).toBeUndefined()
    expect(page.find('[data-test="unfreeze"]').attributes('disabled')).toBeUndefined()
    page.unmount()
  })

  it('ask before a resume', async () => {
    const page = shown(RunCommands, { job: alive, disabled: '', disabledFrozen: '', whyId: 'why' })
    await page.find('[data-test="resume"]').trigger('click')
    await nextTick()
    expect(document.querySelector('[data-test="confirm-text"]')?.textContent).toContain('For the one replica.')
    page.unmount()
  })

  it('say why at every button that is off', () => {
    const page = shown(RunCommands, { job: alive, disabled: 'Not now.', disabledFrozen: 'Not now.', whyId: 'why' })
    expect(page.find('#why').text()).toBe('Not now.')
    for (const button of buttons) {
      expect(page.find(`[data-test="${button}"]`).attributes('aria-describedby')).toBe('why')
    }
    page.unmount()
  })

  it('ask before a pause, by key too, and take the key away when they are gone', async () => {
    const page = shown(RunCommands, { job: alive, disabled: '', disabledFrozen: '', whyId: 'why' })
    onKey(new KeyboardEvent('keydown', { key: 'p' }))
    await nextTick()
    expect(document.querySelector('[data-test="confirm-text"]')?.textContent).toContain('safe point')
    page.unmount()
    expect(shortcuts.some((one) => one.key === 'p')).toBe(false)
  })
})

describe('the latest commands', () => {
  const sent = (sequence: number, over: Parameters<typeof update>[0] = {}) =>
    update({ settled: true, state: 'applied', outcomes: [outcome({ step: sequence })], ...over }, { id: `e${sequence}`, sequence })

  it('are a line each, the newest with what came of it, and open one at a time', async () => {
    const failed = sent(9, { state: 'failed', outcomes: [outcome({ outcome: 'failed', step: 9, reason: 'no gain' })] })
    const page = shown(RecentCommands, { run: 'train', job: 'job-1', updates: [sent(2), sent(3), failed] })
    await nextTick()
    expect(page.findAll('[data-test="command-outcome"]')).toHaveLength(2)
    expect(page.find('[data-test="gist"]').text()).toBe('step 9 · no gain')
    const folds = page.findAll('[data-test="outcome-fold"]')
    for (const fold of folds) await fold.trigger('click')
    expect(folds.map((fold) => fold.attributes('aria-expanded'))).toEqual(['false', 'true'])
    page.unmount()
  })

  it('say what was refused until that is dismissed', async () => {
    const entries = useEntries()
    const trouble = { kind: 'refused' as const, code: 'invalid_value', text: 'lr: expected less.' }
    entries.asked({ id: '1', run: 'train', job: 'job-1', kind: 'update_config', what: 'set lr', entry: null, chosen: 'a'.repeat(32), trouble })
    const page = shown(RecentCommands, { run: 'train', job: 'job-1', updates: [] })
    await nextTick()
    expect(page.find('[data-test="trouble"]').text()).toMatch(/set lr: not done.*lr: expected less/)
    await page.find('[data-test="dismiss"]').trigger('click')
    expect(page.find('[data-test="recent"]').text()).toBe('Nothing was commanded yet.')
    page.unmount()
  })
})

describe('what is said of the connection', () => {
  it('is how to get a link, where there is no way in', () => {
    const page = shown(EnterScreen)
    expect(page.text()).toContain('A link is needed')
    expect(page.text()).toContain('weavelet up')
    page.unmount()
  })

  it('is since when it is lost and that training goes on', async () => {
    const connection = useConnection()
    connection.lostAt = Date.now()
    const page = shown(ConnectionBanner)
    await nextTick()
    expect(page.find('[data-test="connection-lost"]').text()).toMatch(/Connection lost at \d\d:\d\d:\d\d/)
    page.unmount()
  })

  it('is to reload at a weaver of another version', async () => {
    const connection = useConnection()
    connection.phase = 'outdated'
    const page = shown(ConnectionBanner)
    await nextTick()
    expect(page.find('[data-test="reload"]').exists()).toBe(true)
    page.unmount()
  })
})

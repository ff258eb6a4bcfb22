import { describe, expect, it } from 'vitest'

import { mounted, settled } from '../testing/mounting'
import { entryUpdate, outcome } from '../testing/samples'
import EntryLog from './EntryLog.vue'

function entries(count: number) {
  return Array.from({ length: count }, (_, at) =>
    entryUpdate({
      state: at % 2 ? 'applied' : 'rejected',
      outcomes: [outcome({ outcome: at % 2 ? 'applied' : 'rejected', reason: at === 4 ? 'too large' : null })],
      entry: { id: `e-${at}`, sequence: at, author: at === 3 ? 'rule pause_on_nan' : 'operator@laptop', body: { values: { lr: at } } },
    }),
  )
}

describe('the log', () => {
  it('has the newest first and draws only what is in sight', () => {
    const page = mounted(EntryLog, { entries: entries(10_000) })
    const rows = page.all('log-row')
    expect(rows[0]?.dataset['entry']).toBe('e-9999')
    expect(rows.length).toBeLessThan(100)
    expect(page.at('log-count').textContent).toBe('10000 entries')
  })

  it('is searched by author, by name and by reason', async () => {
    const page = mounted(EntryLog, { entries: entries(10) })
    await page.type('log-search', 'PAUSE_on')
    expect(page.all('log-row').map((row) => row.dataset['entry'])).toEqual(['e-3'])
    await page.type('log-search', 'too large')
    expect(page.all('log-row').map((row) => row.dataset['entry'])).toEqual(['e-4'])
    await page.type('log-search', 'nothing like it')
    expect(page.at('log-none').textContent).toBe('No entry matches.')
    expect(page.at('log-count').textContent).toBe('0 of 10 entries')
  })

  it('is narrowed to a state', async () => {
    const page = mounted(EntryLog, { entries: entries(10) })
    page.inner.findComponent({ name: 'VSelect' }).vm.$emit('update:modelValue', 'rejected')
    await settled()
    expect(page.at('log-count').textContent).toBe('5 of 10 entries')
  })

  it('opens an entry, follows what becomes of it, and closes it again', async () => {
    const [first, second] = entries(2)
    const page = mounted(EntryLog, { entries: [first, second] })
    page.all('log-row')[0]?.click()
    await settled()
    expect(page.at('log-opened').textContent).toContain('applied 1/1')
    await page.give({ entries: [first, { ...second, state: 'failed', outcomes: [outcome({ outcome: 'failed' })] }] })
    expect(page.at('log-opened').textContent).toContain('failed')
    page.all('log-row')[0]?.click()
    await settled()
    expect(page.all('log-opened')).toHaveLength(0)
  })

  it('is walked by arrow keys', () => {
    const page = mounted(EntryLog, { entries: entries(3) })
    const [first, second] = page.all('log-row')
    first?.focus()
    first?.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowDown', bubbles: true }))
    expect(document.activeElement).toBe(second)
  })

  it('asks for an export', async () => {
    const page = mounted(EntryLog, { entries: entries(1) })
    await page.click('log-export')
    await page.click('log-export-record')
    expect(page.said('export')).toEqual([['log'], ['record']])
  })

  it('counts one as one', () => {
    expect(mounted(EntryLog, { entries: entries(1) }).at('log-count').textContent).toBe('1 entry')
  })

  it('says when there is nothing yet', () => {
    const page = mounted(EntryLog, { entries: [] })
    expect(page.at('log-none').textContent).toBe('Nothing was commanded yet.')
    expect((page.at('log-export') as HTMLButtonElement).disabled).toBe(true)
  })
})

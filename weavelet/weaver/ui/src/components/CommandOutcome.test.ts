import { describe, expect, it } from 'vitest'

import { Exact } from '../json/exact'
import type { Json } from '../protocol'
import { mounted } from '../testing/mounting'
import { entryUpdate, outcome } from '../testing/samples'
import CommandOutcome from './CommandOutcome.vue'
import { stateOf } from './outcomes'
import { gistOf, whatOf } from './telling'

describe('what an entry asks for', () => {
  it.each([
    ['set', { values: { lr: 0.01, opt: 'sgd' } }, 'set lr = 0.01, opt = sgd'],
    ['set', { values: { lr: 0.01 }, dry_run: true }, 'try lr = 0.01'],
    ['act', { name: 'save', arguments: { path: 'x', n: 3 } }, "run save(path='x', n=3)"],
    ['pause', { lease: 600 }, 'pause for 600 s'],
    ['pause', { lease: new Exact('2.0') as unknown as Json }, 'pause for 2 s'],
    ['pause', { lease: null }, 'pause'],
    ['stop', { reason: 'enough' }, 'stop: enough'],
    ['freeze', { reason: '' }, 'freeze'],
    ['notice', { kind: 'replica_failed' }, 'notice replica_failed'],
  ])('%s %j', (kind, body, words) => {
    expect(whatOf(entryUpdate({ entry: { kind, body } }).entry)).toBe(words)
  })
})

describe('what came of an entry, in a line', () => {
  it.each([
    [[outcome()], 'step 812 · lr: 0.1 → 0.01'],
    [[outcome(), outcome({ replica: 'rank-1', step: 815 })], 'step 812 to 815 · lr: 0.1 → 0.01'],
    [[outcome(), outcome({ replica: 'rank-1', outcome: 'failed', reason: 'no gain', step: null })], 'no gain'],
    [[outcome({ changes: [], result: { loss: 0.5 }, step: 3 })], 'step 3 · {\n  "loss": 0.5\n}'],
    [[], ''],
  ])('%#', (outcomes, words) => {
    expect(gistOf(entryUpdate({ outcomes, entry: { addressed: [] } }))).toBe(words)
  })
})

describe('how an entry failed', () => {
  const failed = (reason: string | null) => [outcome({ outcome: 'failed', reason, changes: [] })]
  it.each([
    ['set', 'lr: no; set back: lr', 'failed and rolled back 1/1'],
    ['set', null, 'failed and rolled back 1/1'],
    ['set', 'lr: no; could not set back: lr (no)', 'failed 1/1'],
    ['set', 'lr: no; set back: wd; could not set back: lr (no)', 'failed 1/1'],
    ['act', 'RuntimeError: no', 'failed 1/1'],
  ])('%s, %s', (kind, reason, words) => {
    expect(stateOf(entryUpdate({ state: 'failed', outcomes: failed(reason), entry: { kind } }))).toBe(words)
  })

  it('is not what a dry run does that changes nothing', () => {
    const skipped = [outcome({ outcome: 'skipped', reason: 'dry run' })]
    const body = { values: { lr: 0.01 }, dry_run: true }
    expect(stateOf(entryUpdate({ state: 'skipped', outcomes: skipped, entry: { body } }))).toBe('would apply 1/1')
    expect(stateOf(entryUpdate({ state: 'skipped', outcomes: skipped }))).toBe('skipped 1/1')
  })
})

describe('where an entry is', () => {
  it.each([
    ['accepted', false, [], 'accepted, waiting for 2 of 2'],
    ['delivered', false, [outcome()], 'applied 1/2, waiting for 1 of 2'],
    ['applied', true, [outcome(), outcome({ replica: 'rank-1' })], 'applied 2/2'],
    ['mixed', true, [outcome(), outcome({ replica: 'rank-1', outcome: 'rejected' })], 'applied 1/2, rejected 1/2'],
    ['applied', true, [outcome(), outcome({ replica: 'rank-1' }), outcome({ replica: 'rank-1', adopted: true })], 'applied 2/2'],
    ['unknown', true, [outcome()], 'applied 1/2, no answer from 1'],
  ])('%s, settled %s', (state, settled, outcomes, words) => {
    const update = entryUpdate({ state, settled, outcomes, entry: { addressed: ['rank-0', 'rank-1'] } })
    expect(stateOf(update)).toBe(words)
  })
})

describe('an outcome', () => {
  it('names what, who, state, and per replica step, old and new', () => {
    const page = mounted(CommandOutcome, { update: entryUpdate() })
    const text = page.inner.text()
    expect(text).toContain('set lr = 0.01')
    expect(text).toContain('operator@laptop')
    expect(page.at('outcome-state').textContent).toBe('applied 1/1')
    expect(page.at('outcome-row').textContent).toMatch(/rank-0.*applied.*812/)
    expect(page.at('outcome-change').textContent).toMatch(/lr.*0\.1.*→.*0\.01/)
  })

  it('settles while it is looked at', async () => {
    const entry = { addressed: ['rank-0'] }
    const page = mounted(CommandOutcome, { update: entryUpdate({ state: 'accepted', settled: false, outcomes: [], entry }) })
    expect(page.all('outcome-under-way')).toHaveLength(1)
    expect(page.at('outcome-word').textContent).toBe('waiting')
    await page.give({ update: entryUpdate({ entry }) })
    expect(page.all('outcome-under-way')).toHaveLength(0)
    expect(page.at('outcome-word').textContent).toBe('applied')
    expect(page.at('command-outcome').getAttribute('aria-busy')).toBe('false')
  })

  it('gives the reason, the traceback folded, and the result', () => {
    const failed = outcome({ outcome: 'failed', reason: 'the handler raised ValueError: no', traceback: 'Traceback: ValueError', changes: [] })
    const page = mounted(CommandOutcome, { update: entryUpdate({ state: 'failed', outcomes: [failed, outcome({ replica: 'rank-1', result: { loss: 0.5 } })] }) })
    expect(page.at('outcome-reason').textContent).toContain('ValueError: no')
    expect((page.at('outcome-traceback') as HTMLDetailsElement).open).toBe(false)
    expect(page.at('result').textContent).toContain('"loss": 0.5')
  })

  it('shows 0, false and the empty text as results', () => {
    const outcomes = [0, false, ''].map((result, at) => outcome({ replica: `rank-${at}`, result }))
    expect(mounted(CommandOutcome, { update: entryUpdate({ outcomes }) }).all('result')).toHaveLength(3)
  })

  it('folds a long result and shows it whole at a press', async () => {
    const page = mounted(CommandOutcome, { update: entryUpdate({ outcomes: [outcome({ result: 'z'.repeat(5000) })] }) })
    expect(page.at('result').textContent?.length).toBeLessThan(1000)
    await page.click('result-more')
    expect(page.at('result').textContent?.length).toBeGreaterThan(5000)
  })

  it('shows hostile text as text', () => {
    const evil = `<img src=x onerror="x">${'y'.repeat(65536)}`
    const hostile = outcome({ replica: evil, reason: evil, changes: [{ name: evil, old: evil, new: evil }] })
    mounted(CommandOutcome, { update: entryUpdate({ outcomes: [hostile], entry: { author: evil, body: { values: { [evil]: evil } } } }) })
    expect(document.querySelector('img')).toBeNull()
  })

  it('has one row for all replicas that said the same, what went wrong first', () => {
    const outcomes = [
      ...Array.from({ length: 64 }, (_, at) => outcome({ replica: `rank-${at}`, step: 812 + at })),
      outcome({ replica: 'rank-64', outcome: 'failed', reason: 'no', changes: [] }),
    ]
    const page = mounted(CommandOutcome, { update: entryUpdate({ state: 'mixed', outcomes }) })
    const [first, second, ...others] = page.all('outcome-row').map((row) => row.textContent)
    expect(others).toEqual([])
    expect(first).toMatch(/rank-64.*failed/)
    expect(second).toMatch(/64 replicas.*rank-0, rank-1.*and 54 more.*applied.*812 to 875/)
  })

  it('is one line until it is opened', async () => {
    const page = mounted(CommandOutcome, { update: entryUpdate(), foldable: true })
    const table = page.at('outcome-row').closest<HTMLElement>('.details')
    expect(table?.style.display).toBe('none')
    await page.click('outcome-fold')
    expect(page.said('update:open')).toEqual([[true]])
    await page.give({ open: true })
    expect(table?.style.display).toBe('')
  })

  it('names how many replicas it leaves out', { timeout: 60_000 }, () => {
    const outcomes = Array.from({ length: 210 }, (_, at) => outcome({ replica: `rank-${at}`, changes: [], result: at }))
    const page = mounted(CommandOutcome, { update: entryUpdate({ outcomes }) })
    expect(page.all('outcome-row')).toHaveLength(200)
    expect(page.inner.text()).toContain('and 10 more replicas')
  })
})

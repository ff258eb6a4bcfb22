import { describe, expect, it } from 'vitest'

import { writeJson } from '../json/exact'
import type { ControlView } from '../protocol'
import { mounted, settled } from '../testing/mounting'
import { entryUpdate, outcome } from '../testing/samples'
import ActionForm from './ActionForm.vue'

const SAVE: ControlView = {
  name: 'save',
  kind: 'action',
  schema: {
    type: 'object',
    properties: {
      path: { type: 'string', minLength: 1 },
      n: { type: 'integer', minimum: 1, default: 3 },
      plan: { $ref: '#/$defs/Plan', default: null },
    },
    required: ['path'],
    additionalProperties: false,
    $defs: { Plan: { type: 'object', properties: { a: { type: 'number' } }, additionalProperties: false } },
  },
}

describe('the form of an action', () => {
  it('runs with what was given, and leaves defaults to the trainer', async () => {
    const page = mounted(ActionForm, { action: SAVE })
    expect(page.input('field-n').value).toBe('3')
    await page.type('field-path', 'x')
    await page.click('action-run')
    expect(page.said('run')).toEqual([[{ name: 'save', arguments: { path: 'x' }, replicas: [] }]])
  })

  it('keeps types and reads definitions', async () => {
    const page = mounted(ActionForm, { action: SAVE })
    await page.type('field-path', '1')
    await page.type('field-n', '9007199254740993')
    await page.type('field-plan', '{"a": 1.0}')
    await page.click('action-run')
    expect(writeJson(page.said('run')[0])).toContain('"arguments":{"path":"1","n":9007199254740993,"plan":{"a":1.0}}')
    await page.type('field-plan', '{"b": 1}')
    expect(page.at('field-plan').textContent).toContain("plan: no field 'b'; known: a")
  })

  it('does not run without what is required, and says so only when asked to run', async () => {
    const page = mounted(ActionForm, { action: SAVE })
    expect(page.at('field-path').textContent).not.toContain('expected')
    await page.click('action-run')
    expect(page.at('field-path').textContent).toContain("path: expected a string of at least 1 characters, got ''")
    expect(page.said('run')).toEqual([])
  })

  it('wants a value for what is required, and marks it', async () => {
    const schema = { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] }
    const page = mounted(ActionForm, { action: { ...SAVE, schema } })
    expect(page.at('field-path').textContent).toContain('path (required)')
    await page.click('action-run')
    await settled()
    expect(page.said('run')).toEqual([])
    expect(page.at('field-path').textContent).toContain('path: expected a value, it is required')
    expect(document.activeElement).toBe(page.input('field-path'))
  })

  it('needs no form where there are no arguments', async () => {
    const page = mounted(ActionForm, { action: { ...SAVE, schema: { type: 'object', properties: {} } } })
    await page.click('action-run')
    expect(page.said('run')).toEqual([[{ name: 'save', arguments: {}, replicas: [] }]])
  })

  it('asks before it does what is dangerous', async () => {
    const page = mounted(ActionForm, { action: { ...SAVE, danger: true, schema: {} }, replicas: ['rank-0', 'rank-1'] })
    await page.click('action-run')
    expect(page.said('run')).toEqual([])
    expect(page.at('confirm-text').textContent).toContain('For all 2 replicas.')
    await page.type('confirm-typed', 'save')
    await page.click('confirm-yes')
    expect(page.said('run')).toHaveLength(1)
  })

  it('names the arguments in its question', async () => {
    const page = mounted(ActionForm, { action: { ...SAVE, danger: true }, replicas: ['rank-0', 'rank-1'] })
    await page.type('field-path', 'x')
    page.inner.findComponent({ name: 'VSelect' }).vm.$emit('update:modelValue', ['rank-1'])
    await page.click('action-run')
    expect(page.at('confirm-text').textContent).toContain("path = 'x'\nFor 1 of 2 replicas: rank-1.")
  })

  it('shows a refusal at the argument that it names, and any other above', async () => {
    const page = mounted(ActionForm, { action: SAVE, refusal: { code: 'invalid_value', text: 'save.path: expected text' } })
    expect(page.at('field-path').textContent).toContain('expected text')
    await page.give({ refusal: { code: 'frozen', text: 'job was frozen' } })
    expect(page.at('action-refusal').textContent).toContain('job was frozen')
  })

  it('shows what came of it', () => {
    const update = entryUpdate({ entry: { kind: 'act', body: { name: 'save', arguments: {} } }, outcomes: [outcome({ changes: [], result: 'saved to x' })] })
    const page = mounted(ActionForm, { action: SAVE, outcome: update })
    expect(page.at('result').textContent).toContain('saved to x')
  })

  it('says why it cannot be run', () => {
    const page = mounted(ActionForm, { action: SAVE, disabled: 'You are a viewer.' })
    expect(page.at('action-disabled').textContent).toContain('You are a viewer.')
    expect((page.at('action-run') as HTMLButtonElement).disabled).toBe(true)
  })
})

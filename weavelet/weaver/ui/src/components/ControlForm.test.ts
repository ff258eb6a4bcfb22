import { describe, expect, it } from 'vitest'

import { writeJson } from '../json/exact'
import type { ControlView } from '../protocol'
import { mounted, settled } from '../testing/mounting'
import ControlForm from './ControlForm.vue'

const RATE = { type: 'number', exclusiveMinimum: 0, maximum: 1 }

function control(name: string, schema: ControlView['schema'], more: Partial<ControlView> = {}): ControlView {
  return { name, kind: 'control', schema, ...more }
}

function form(controls: ControlView[], more: Record<string, unknown> = {}) {
  return mounted(ControlForm, { controls, replicas: ['rank-0', 'rank-1'], ...more })
}

describe('the form of controls', () => {
  it('shows the value that is, with its unit', () => {
    const page = form([control('lr', RATE, { value: 0.1, unit: '1/s' })])
    expect(page.at('control-current').textContent).toContain('0.1')
    expect(page.at('control-current').textContent).toContain('1/s')
    expect(page.input('field-lr').value).toBe('0.1')
  })

  it('tells null, which is a value, from what is not known', () => {
    const optional = { anyOf: [RATE, { type: 'null' }] }
    const page = form([control('clip', optional, { value: null }), control('wd', RATE)])
    expect(page.all('control-current').map((one) => one.textContent?.trim())).toEqual(['now null', 'now not known'])
    expect(page.at('field-clip').closest('.editing')?.querySelector<HTMLInputElement>('input[type="checkbox"]')?.checked).toBe(true)
  })

  it('sends all that was edited as one request, and nothing else', async () => {
    const page = form([control('lr', RATE, { value: 0.1 }), control('wd', RATE, { value: 0.2 }), control('n', { type: 'integer' }, { value: 1 })])
    await page.type('field-lr', '1e-4')
    await page.type('field-n', '9007199254740993')
    await page.click('control-send')
    expect(page.said('send')).toHaveLength(1)
    expect(writeJson(page.said('send')[0])).toBe(
      '[{"values":{"lr":0.0001,"n":9007199254740993},"expect":{},"dry_run":false,"at_step":null,"replicas":[]}]',
    )
  })

  it('says what was expected and sends nothing', async () => {
    const page = form([control('lr', RATE, { value: 0.1 })])
    await page.type('field-lr', 'banana')
    expect(page.at('field-lr').textContent).toContain("lr: expected a number > 0 and <= 1, got 'banana'")
    await page.click('control-send')
    expect(page.said('send')).toEqual([])
    expect(page.at('control-faulty').getAttribute('role')).toBe('alert')
  })

  it('counts what is edited and what is not valid, and leads to the first that is not', async () => {
    const page = form([control('lr', RATE, { value: 0.1 }), control('wd', RATE, { value: 0.2 }), control('mu', RATE, { value: 0.3 })])
    expect(page.at('control-count').textContent).toBe('Nothing edited')
    await page.type('field-lr', '0.5')
    await page.type('field-mu', '7')
    await page.type('field-wd', 'x')
    expect(page.at('control-count').textContent).toBe('3 edited')
    expect(page.at('control-faulty').textContent).toContain('2 not valid')
    await page.click('control-send')
    await settled()
    expect(document.activeElement).toBe(page.input('field-wd'))
    expect(page.said('send')).toEqual([])
  })

  it('filters many by name and by what they are about, and keeps what is edited in sight', async () => {
    const many = Array.from({ length: 13 }, (_, at) => control(`c${at}`, RATE, { value: 0.1, doc: at === 7 ? 'Momentum.' : '' }))
    const page = form(many)
    await page.type('field-c3', '0.5')
    await page.type('control-search', 'MOMENT')
    expect(page.all('field-c3').length + page.all('field-c7').length).toBe(2)
    expect(page.all('field-c1')).toHaveLength(0)
    await page.give({ controls: many.slice(0, 12) })
    expect(page.all('control-search')).toHaveLength(0)
  })

  it('keeps the lines of a text that gets some while it is shown', async () => {
    const page = form([control('prompt', { type: 'string' }, { value: 'one' })])
    await page.give({ controls: [control('prompt', { type: 'string' }, { value: 'one\ntwo' })] })
    await page.type('field-prompt', 'one\ntwo\nthree')
    await page.type('field-prompt', 'one')
    expect(page.input('field-prompt').tagName).toBe('TEXTAREA')
  })

  it('carries a step, a dry run, what is expected and to whom', async () => {
    const page = form([control('lr', RATE, { value: 0.1 })])
    await page.type('field-lr', '0.5')
    await page.type('option-at-step', '900')
    await page.click('option-dry-run')
    await page.click('option-expect')
    page.inner.findAllComponents({ name: 'VSelect' }).at(-1)?.vm.$emit('update:modelValue', ['rank-1'])
    await page.click('control-send')
    expect(page.said('send')[0]).toEqual([
      { values: { lr: 0.5 }, expect: { lr: 0.1 }, dry_run: true, at_step: 900, replicas: ['rank-1'] },
    ])
  })

  it('refuses a step that is none', async () => {
    const page = form([control('lr', RATE, { value: 0.1 })])
    await page.type('field-lr', '0.5')
    await page.type('option-at-step', '-3')
    await page.click('control-send')
    expect(page.at('option-at-step').textContent).toContain("at step: expected an integer >= 0, got '-3'")
    expect(page.said('send')).toEqual([])
  })

  it('shows a refusal at the control that it names, and any other above', async () => {
    const page = form([control('lr', RATE, { value: 0.1 }), control('lr2', RATE, { value: 0.1 })])
    await page.give({ refusal: { code: 'invalid_value', text: 'lr2: expected less' } })
    expect(page.at('field-lr2').textContent).toContain('lr2: expected less')
    expect(page.at('field-lr').textContent).not.toContain('expected less')
    expect(page.all('control-refusal')).toHaveLength(0)
    await page.give({ refusal: { code: 'frozen', text: 'job was frozen by operator' } })
    expect(page.at('control-refusal').textContent).toContain('frozen by operator')
  })

  it('takes a refusal away when that control is edited', async () => {
    const page = form([control('lr', RATE, { value: 0.1 })], { refusal: { code: 'invalid_value', text: 'lr: no' } })
    expect(page.at('field-lr').textContent).toContain('lr: no')
    await page.type('field-lr', '0.3')
    expect(page.at('field-lr').textContent).not.toContain('lr: no')
  })

  it('asks before it sets what is dangerous, and takes the name for a yes', async () => {
    const page = form([control('lr', RATE, { value: 0.1, danger: true })])
    await page.type('field-lr', '0.5')
    await page.click('control-send')
    expect(page.said('send')).toEqual([])
    expect(page.at('confirm-text').textContent).toContain('lr: 0.1 -> 0.5')
    await page.click('confirm-yes')
    expect(page.said('send')).toEqual([])
    await page.type('confirm-typed', 'lr')
    await page.click('confirm-yes')
    expect(page.said('send')).toHaveLength(1)
  })

  it('names in its question who is asked', async () => {
    const page = form([control('lr', RATE, { value: 0.1, danger: true })])
    await page.type('field-lr', '0.5')
    await page.click('control-send')
    expect(page.at('confirm-text').textContent).toContain('For all 2 replicas.')
  })

  it('sends nothing when the question is answered with no', async () => {
    const page = form([control('lr', RATE, { value: 0.1, danger: true })])
    await page.type('field-lr', '0.5')
    await page.click('control-send')
    await page.click('confirm-no')
    expect(page.said('send')).toEqual([])
    expect(page.input('field-lr').value).toBe('0.5')
  })

  it('keeps an edit while values change below it, and drops it once it has come true', async () => {
    const page = form([control('lr', RATE, { value: 0.1 })])
    await page.type('field-lr', '0.5')
    await page.give({ controls: [control('lr', RATE, { value: 0.2 })] })
    expect(page.input('field-lr').value).toBe('0.5')
    expect(page.at('control-current').textContent).toContain('0.2')
    await page.give({ controls: [control('lr', RATE, { value: 0.5 })] })
    expect(page.all('control-edited')).toHaveLength(0)
    await page.give({ controls: [control('lr', RATE, { value: 0.7 })] })
    expect(page.input('field-lr').value).toBe('0.7')
  })

  it('shows values that differ among replicas as such, and expects none of them', async () => {
    const page = form([control('lr', RATE, { value: 0.1 })], { values: { lr: { 'rank-0': 0.1, 'rank-1': 0.2 } } })
    expect(page.at('control-current').textContent).toMatch(/differs.*rank-0.*0\.1.*rank-1.*0\.2/)
    await page.type('field-lr', '0.5')
    await page.click('option-expect')
    await page.click('control-send')
    expect(page.said('send')[0]).toMatchObject([{ expect: {} }])
  })

  it('has a switch, a choice by name, text, and JSON with the place of a mistake', async () => {
    const page = form([
      control('amp', { type: 'boolean' }, { value: false }),
      control('opt', { enum: ['adam', 'sgd'], 'x-enum-names': ['ADAM', 'SGD'] }, { value: 'sgd' }),
      control('tag', { type: 'string' }, { value: 'a' }),
      control('plan', { type: 'object', properties: { a: { type: 'number' } } }, { value: { a: 1 } }),
    ])
    await page.click('field-amp')
    page.inner.findComponent({ name: 'VSelect' }).vm.$emit('update:modelValue', '0')
    await page.type('field-tag', '1')
    expect(page.all('field-plan')).toHaveLength(0)
    await page.click('open-plan')
    await page.type('field-plan', '{"a": }')
    expect(page.at('field-plan').textContent).toContain('plan: line 1, column 7: expected a value, got "}"')
    await page.type('field-plan', '{"a": 1.0}')
    await page.click('control-send')
    expect(writeJson(page.said('send')[0])).toContain('"values":{"amp":true,"opt":"adam","tag":"1","plan":{"a":1.0}}')
  })

  it('sets null where that is admitted', async () => {
    const page = form([control('clip', { anyOf: [{ type: 'number' }, { type: 'null' }] }, { value: 1 })])
    await page.click('null-clip')
    await page.click('control-send')
    expect(page.said('send')[0]).toMatchObject([{ values: { clip: null } }])
  })

  it('moves by its slider over decades', async () => {
    const page = form([control('lr', { type: 'number', minimum: 1e-6, maximum: 1 }, { value: 1 })])
    const slider = page.at('slider-lr') as HTMLInputElement
    slider.value = '500'
    slider.dispatchEvent(new Event('input'))
    await settled()
    await page.click('control-send')
    expect(page.said('send')[0]).toMatchObject([{ values: { lr: 0.001 } }])
  })

  it('lets nothing be sent while disabled, busy or unedited', async () => {
    const page = form([control('lr', RATE, { value: 0.1 })], { disabled: 'You are a viewer.' })
    expect(page.at('control-disabled').textContent).toContain('You are a viewer.')
    expect(page.input('field-lr').disabled).toBe(true)
    await page.give({ disabled: '', busy: true })
    await page.type('field-lr', '0.5')
    expect((page.at('control-send') as HTMLButtonElement).disabled).toBe(true)
    await page.give({ busy: false })
    expect((page.at('control-send') as HTMLButtonElement).disabled).toBe(false)
    await page.click('control-discard')
    expect((page.at('control-send') as HTMLButtonElement).disabled).toBe(true)
  })

  it('does not let what is quarantined be edited, and says so', () => {
    const page = form([control('lr', RATE, { value: 0.1, quarantined: true })])
    expect(page.at('control-quarantined').textContent).toContain('quarantined')
    expect(page.input('field-lr').disabled).toBe(true)
  })

  it('lets go of an edit of what gets quarantined', async () => {
    const page = form([control('lr', RATE, { value: 0.1 })])
    await page.type('field-lr', '0.5')
    await page.give({ controls: [control('lr', RATE, { value: 0.1, quarantined: true })] })
    expect(page.at('control-count').textContent).toBe('Nothing edited')
    expect(page.at('control-why').textContent).toContain('failed three times')
  })

  it('does not say again what is said elsewhere', () => {
    const page = form([control('lr', RATE, { value: 0.1 })], { disabled: 'You are a viewer.', saidBy: 'why' })
    expect(page.all('control-disabled')).toHaveLength(0)
    expect(page.at('control-send').getAttribute('aria-describedby')).toBe('why')
  })

  it('shows hostile names and values as text', () => {
    const evil = `<img src=x onerror="x"> \u202E😀 ${'y'.repeat(65536)}`
    const page = form([control(evil, { type: 'string' }, { value: evil, doc: evil, unit: evil })])
    expect(document.querySelector('img')).toBeNull()
    expect(page.inner.find('legend bdi').attributes('title')).toBe(evil)
    expect(page.inner.find('legend').text().length).toBeLessThan(200)
  })

  it('can set a control with the name of what objects have', async () => {
    const page = form([control('__proto__', { type: 'integer' }, { value: 1 })])
    await page.type('field-__proto__', '2')
    await page.click('control-send')
    expect(writeJson(page.said('send')[0])).toContain('"values":{"__proto__":2}')
  })

  it('leaves actions out', () => {
    const page = form([{ ...control('save', { type: 'object' }), kind: 'action' }])
    expect(page.at('control-none').textContent).toContain('No controls')
  })
})

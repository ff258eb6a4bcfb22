import { describe, expect, it, vi } from 'vitest'

import { mounted, settled } from '../testing/mounting'
import ConfirmDialog from './ConfirmDialog.vue'

const STOP = { modelValue: true, title: 'Stop train?', text: 'Training ends.', confirm: 'Stop', danger: true }

describe('a question', () => {
  it('is answered with yes', async () => {
    const page = mounted(ConfirmDialog, STOP)
    await settled()
    await page.click('confirm-yes')
    expect(page.said('confirm')).toHaveLength(1)
    expect(page.said('update:modelValue')).toEqual([[false]])
  })

  it('is answered with no, by button and by Escape', async () => {
    const page = mounted(ConfirmDialog, STOP)
    await settled()
    await page.click('confirm-no')
    expect([page.said('cancel').length, page.said('confirm').length]).toEqual([1, 0])
    await page.give({ modelValue: false })
    await page.give({ modelValue: true })
    window.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))
    await vi.waitFor(() => expect(page.said('cancel')).toHaveLength(2))
  })

  it('wants the name typed, each time anew', async () => {
    const page = mounted(ConfirmDialog, { ...STOP, typed: 'train' })
    await settled()
    const yes = () => page.at('confirm-yes') as HTMLButtonElement
    expect(yes().disabled).toBe(true)
    await page.type('confirm-typed', 'trai')
    expect(yes().disabled).toBe(true)
    await page.type('confirm-typed', 'train')
    expect(yes().disabled).toBe(false)
    await page.give({ modelValue: false })
    await page.give({ modelValue: true })
    expect(yes().disabled).toBe(true)
  })

  it.each([
    ['does what can be taken back', false, 'confirm-yes'],
    ['cancels what cannot', true, 'confirm-no'],
  ])('by enter %s', async (_what, danger, button) => {
    const page = mounted(ConfirmDialog, { ...STOP, danger, modelValue: false })
    await page.give({ modelValue: true })
    expect(document.activeElement).toBe(page.at(button))
  })

  it('is not answered while something is missing', async () => {
    const page = mounted(ConfirmDialog, { ...STOP, unready: true })
    await settled()
    expect((page.at('confirm-yes') as HTMLButtonElement).disabled).toBe(true)
    await page.give({ unready: false })
    expect((page.at('confirm-yes') as HTMLButtonElement).disabled).toBe(false)
  })

  it('gives the focus back to where it was', async () => {
    const page = mounted(ConfirmDialog, { ...STOP, modelValue: false })
    const button = document.body.appendChild(document.createElement('button'))
    button.focus()
    await page.give({ modelValue: true })
    page.at('confirm-no').focus()
    expect(document.activeElement).not.toBe(button)
    await page.give({ modelValue: false })
    await vi.waitFor(() => expect(document.activeElement).toBe(button))
    button.remove()
  })

  it('is a dialog with a name, for those who do not see it', async () => {
    mounted(ConfirmDialog, STOP)
    await settled()
    const dialog = document.querySelector('[role="dialog"]')
    const title = document.getElementById(dialog?.getAttribute('aria-labelledby') ?? '')
    expect(title?.textContent).toBe('Stop train?')
  })
})

import { mount } from '@vue/test-utils'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { h } from 'vue'

import { useAgain, type Again } from './again'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

function asking() {
  const ask = vi.fn()
  let again: Again | undefined
  const page = mount({ setup: () => ((again = useAgain(ask)), () => h('p')) })
  return { ask, again: again as Again, page }
}

it('asks once for many signs, and waits longer each time', () => {
  const { ask, again } = asking()
  for (const wait of [1000, 2000, 4000]) {
    again.need()
    again.need()
    ask.mockClear()
    vi.advanceTimersByTime(wait - 1)
    expect(ask).not.toHaveBeenCalled()
    vi.advanceTimersByTime(1)
    expect(ask).toHaveBeenCalledOnce()
  }
  again.reset()
  again.need()
  vi.advanceTimersByTime(1000)
  expect(ask).toHaveBeenCalledTimes(2)
})

it('asks no more once the page shows something else', () => {
  const { ask, again, page } = asking()
  again.need()
  page.unmount()
  vi.runAllTimers()
  expect(ask).not.toHaveBeenCalled()
})

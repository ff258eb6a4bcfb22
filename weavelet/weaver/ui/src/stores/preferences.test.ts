import { createPinia, setActivePinia } from 'pinia'
import { beforeEach, expect, it } from 'vitest'
import { nextTick } from 'vue'

import { decode, usePreferences, type Preferences } from './preferences'

const PLACE = 'weavelet'
const stored = () => decode(localStorage.getItem(PLACE))
const store = (over: Partial<Preferences>) => {
  localStorage.setItem(PLACE, JSON.stringify({ ...stored(), ...over }))
}

beforeEach(() => {
  localStorage.clear()
  setActivePinia(createPinia())
})

it('reads back what is sound and ignores the rest', () => {
  expect(decode('{"theme":"dark","logScale":["loss"],"charts":{"a":["loss"],"b":3}}')).toEqual({
    theme: 'dark',
    logScale: ['loss'],
    charts: { a: ['loss'] },
  })
  for (const text of [null, '', 'no json', '3', 'null', '{"theme":"pink","logScale":[1]}']) {
    expect(decode(text)).toEqual({ theme: 'system', logScale: [], charts: {} })
  }
})

it('changes nothing that another tab has stored meanwhile', async () => {
  store({ logScale: ['loss'], charts: { a: ['loss'] } })
  const preferences = usePreferences()
  store({ theme: 'dark', logScale: ['loss', 'lr'], charts: { a: ['lr'], b: ['loss'] } })
  preferences.logScale = []
  preferences.charts = { ...preferences.charts, c: [] }
  await nextTick()
  const both = { theme: 'dark', logScale: ['lr'], charts: { a: ['lr'], b: ['loss'], c: [] } }
  expect(stored()).toEqual(both)
  expect({ ...preferences.$state }).toEqual(both)
})

it('follows what another tab stores', async () => {
  const preferences = usePreferences()
  const newValue = JSON.stringify({ theme: 'light', logScale: ['loss'], charts: {} })
  dispatchEvent(Object.assign(new Event('storage'), { key: PLACE, newValue }))
  expect([preferences.theme, preferences.logScale]).toEqual(['light', ['loss']])
  dispatchEvent(Object.assign(new Event('storage'), { key: 'other', newValue: null }))
  await nextTick()
  expect(preferences.theme).toBe('light')
})

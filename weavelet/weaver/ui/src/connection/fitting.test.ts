import { expect, it } from 'vitest'

import { MAX_MESSAGE_BYTES } from '../protocol'
import { bytesOf, grouped } from './fitting'

it('shares names out so that every message is taken, in their order', () => {
  const names = ['a', 'x'.repeat(40_000), 'b', '"'.repeat(20_000), 'ä'.repeat(100), 'z'.repeat(64_000)]
  const { groups, left } = grouped(names, 1000)
  expect(left).toEqual([])
  expect(groups.flat()).toEqual(names)
  expect(groups.length).toBeLessThan(names.length)
  for (const group of groups) expect(1000 + bytesOf(JSON.stringify(group))).toBeLessThanOrEqual(MAX_MESSAGE_BYTES + 1)
})

it('leaves out what no message can hold', () => {
  const long = 'x'.repeat(MAX_MESSAGE_BYTES)
  expect(grouped([long, 'loss'], 100)).toEqual({ groups: [['loss']], left: [long] })
  expect(grouped([], 100)).toEqual({ groups: [], left: [] })
})

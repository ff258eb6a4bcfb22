import { expect, it } from 'vitest'

import { Batch } from './batch'

it('hands over everything that came since the last time, once and in order', () => {
  const due: (() => void)[] = []
  const taken: number[][] = []
  const batch = new Batch<number>(
    (run) => due.push(run),
    (items) => taken.push(items),
  )
  batch.add(1)
  batch.add(2)
  expect(due).toHaveLength(1)
  due.shift()?.()
  batch.add(3)
  due.shift()?.()
  batch.flush()
  expect(taken).toEqual([[1, 2], [3]])
  expect(due).toHaveLength(0)
})

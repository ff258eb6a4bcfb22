import { expect, it } from 'vitest'

import { decode } from './preferences'

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

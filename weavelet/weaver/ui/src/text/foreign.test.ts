import { describe, expect, it } from 'vitest'

import { cleaned, shortened } from './foreign'

describe('text from outside', () => {
  it('loses what reorders or hides letters', () => {
    expect(cleaned('a\u202eb\u200bc\u0000')).toBe('a\ufffdb\ufffdc\ufffd')
  })

  it('shows where its lines end', () => {
    expect(cleaned('one\ntwo\r\nthree\u2028four')).toBe('one⏎two⏎three⏎four')
  })

  it('is cut between letters', () => {
    expect(shortened('ab😀', 3)).toBe('ab…')
    expect(shortened('ab', 3)).toBe('ab')
  })
})

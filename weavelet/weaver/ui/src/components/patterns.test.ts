import { describe, expect, it } from 'vitest'

import { isSlow } from './patterns'
import { violation } from './schema'

describe('patterns', () => {
  it.each<[string, number, boolean]>([
    ['^(adam|sgd)$', 10_000, false],
    ['^[a-z_]+$', 9_000, false],
    ['^\\d+\\.\\d+\\.\\d+$', 40, false],
    ['^[(]a+[)]*$', 40, false],
    ['^(ab)+$', 40, false],
    ['^(?:ab)+$', 40, false],
    ['^(a+)+$', 0, true],
    ['^(a|a)*$', 0, true],
    ['^(a?){30}a{30}$', 0, true],
    ['^a*a*a*a*b$', 10_000, true],
  ])('%s on %i characters is slow: %s', (pattern, length, slow) => {
    expect(isSlow(pattern, 'a'.repeat(length))).toBe(slow)
  })

  it('that are slow are left to the trainer', () => {
    const schema = { type: 'string', pattern: '^(a+)+$', maxLength: 100 }
    expect(violation('name', schema, `${'a'.repeat(60)}!`)).toBeNull()
    expect(violation('name', schema, 'a'.repeat(101))).toContain('expected')
  })
})

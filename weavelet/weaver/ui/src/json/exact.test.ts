import { describe, expect, it } from 'vitest'

import { Exact, JsonProblem, parseJson, same, writeJson } from './exact'
import { jsonFault } from './fault'

describe('numbers as JSON text', () => {
  it.each([
    '9007199254740993',
    '-9223372036854775808',
    '1.0',
    '1e5',
    '{"a":[1.0,2,9007199254740993],"b":0.0001}',
    '"1.0"',
    '{"text":"1.0 and 9007199254740993 \\" 1e5"}',
    '[]',
    '1.5e-7',
    'null',
  ])('%s comes back as it was', (text) => {
    expect(writeJson(parseJson(text))).toBe(text)
  })

  it('is a plain number where a double says it all', () => {
    expect(parseJson('[1, 0.25, -3, 1e-4]')).toEqual([1, 0.25, -3, 0.0001])
  })

  it('reads the bare words that JSON lacks as their names', () => {
    expect(parseJson('{"a": NaN, "b": -Infinity, "NaN": "Infinity"}')).toEqual({
      a: 'NaN',
      b: '-Infinity',
      NaN: 'Infinity',
    })
  })

  it('does not take text for a number, whatever the text', () => {
    const hostile = ['\u00011.0', '\u0001\u00015', '\\u00011', { a: '\u0000exact' }, new Exact('2.0')]
    expect(writeJson(hostile)).toBe('["\\u00011.0","\\u0001\\u00015","\\\\u00011",{"a":"\\u0000exact"},2.0]')
  })

  it('indents', () => {
    expect(writeJson({ a: new Exact('1.0') }, 2)).toBe('{\n  "a": 1.0\n}')
  })

  it('takes 1 and 1.0 for the same, and neighbours beyond 2^53 for different', () => {
    expect(same(1, new Exact('1.0'))).toBe(true)
    expect(same({ a: 1, b: 2 }, { b: 2, a: 1 })).toBe(true)
    expect(same(new Exact('9007199254740993'), new Exact('9007199254740992'))).toBe(false)
    expect(same('1', 1)).toBe(false)
    expect(same([1], { 0: 1 })).toBe(false)
  })
})

describe('text that is no JSON', () => {
  it.each([
    ['', 1, 1, 'expected a value, got the end of the text'],
    ['{"a": }', 1, 7, 'expected a value, got "}"'],
    ['{a: 1}', 1, 2, 'expected a name in double quotes or }, got "a"'],
    ['[1,\n 2\n', 3, 1, 'expected , or ], got the end of the text'],
    ['[1,]', 1, 4, 'expected a value, got "]"'],
    ['{"a":1,}', 1, 8, 'expected a name in double quotes, got "}"'],
    ['[1 2]', 1, 4, 'expected , or ], got "2"'],
    ['[NaN, Infinity, oops]', 1, 17, 'expected a value, got "o"'],
    ["{'a': 1}", 1, 2, 'expected a name in double quotes or }, got "\'"'],
    ['1 1', 1, 3, 'expected nothing more, got "1"'],
    ['[01]', 1, 2, 'expected a value or ], got "0"'],
    ['["abc]', 1, 2, 'expected a value or ], got "\\""'],
    ['{"a" 1}', 1, 6, 'expected :, got "1"'],
    ['[😀]', 1, 2, 'expected a value or ], got "😀"'],
  ])('%j is refused at line %i, column %i', (text, line, column, said) => {
    const found = problem(text)
    expect(found.message).toBe(said)
    expect([found.line, found.column]).toEqual([line, column])
  })

  it('is told from JSON just as the engine does', () => {
    const pieces = ['{', '}', '[', ']', ',', ':', '"a"', '1', '-0.5e3', 'true', 'null', ' ', '01', '"']
    let seed = 7
    const random = (most: number) => (seed = (seed * 48271) % 2147483647) % most
    for (let round = 0; round < 20_000; round++) {
      const text = Array.from({ length: 1 + random(7) }, () => pieces[random(pieces.length)]).join('')
      expect([text, jsonFault(text) === null]).toEqual([text, isJson(text)])
    }
  })
})

function problem(text: string): JsonProblem {
  try {
    parseJson(text)
  } catch (error) {
    if (error instanceof JsonProblem) return error
  }
  throw new Error(`${text} was read`)
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

import { describe, expect, it } from 'vitest'

import { Exact, parseJson } from '../json/exact'
import { type Schema, violation } from './schema'
import { describe as inWords } from './wording'

const RATE = { type: 'number', exclusiveMinimum: 0, maximum: 1 }
const PLAN = {
  anyOf: [{ $ref: '#/$defs/Plan' }, { type: 'null' }],
  $defs: {
    Plan: {
      title: 'Plan',
      type: 'object',
      properties: { warmup: { type: 'integer', minimum: 0 }, name: { enum: ['cos', 'lin'], default: 'cos' } },
      required: ['warmup'],
      additionalProperties: false,
    },
  },
}

describe('what a schema asks for', () => {
  it.each<[Schema, string]>([
    [RATE, 'a number > 0 and <= 1'],
    [{ enum: ['sgd', 'adam'] }, "one of 'sgd', 'adam'"],
    [{ const: 3 }, '3'],
    [{ type: 'array', items: { type: 'integer' } }, 'a list of integers'],
    [{ type: 'array', items: { type: 'number', minimum: 0 }, minItems: 2 }, 'a list of numbers >= 0, at least 2 items'],
    [{ anyOf: [{ type: 'integer', minimum: 1 }, { type: 'null' }] }, 'an integer >= 1 or null'],
    [{ type: 'string', maxLength: 5, pattern: '^a+$' }, "a string of at most 5 characters matching '^a+$'"],
    [PLAN, 'an object {warmup, name?} or null'],
    [{ type: 'number', minimum: 0, maximum: Number.MAX_VALUE }, 'a number >= 0 and finite'],
    [{ type: 'integer', multipleOf: 8 }, 'an integer a multiple of 8'],
    [{ type: 'array', prefixItems: [{ type: 'integer' }, { type: 'number' }], items: false }, 'a list [an integer, a number]'],
    [{}, 'any value'],
  ])('%j', (schema, words) => {
    expect(inWords(schema, schema)).toBe(words)
  })

  it('ends where definitions go round in circles', () => {
    const round = { $ref: '#/$defs/A', $defs: { A: { $ref: '#/$defs/A' } } }
    expect(inWords(round, round)).toBe('any value')
  })
})

describe('what is wrong with a value', () => {
  it.each<[Schema, unknown, string | null]>([
    [RATE, 0.5, null],
    [RATE, 'banana', "lr: expected a number > 0 and <= 1, got 'banana'"],
    [RATE, 0, 'lr: expected a number > 0 and <= 1, got 0'],
    [RATE, 'NaN', "lr: expected a number > 0 and <= 1, got 'NaN'"],
    [{ type: 'number' }, 'NaN', null],
    [{ type: 'number', minimum: 0 }, 'Infinity', null],
    [{ type: 'integer' }, 1.5, 'lr: expected an integer, got 1.5'],
    [{ type: 'integer', maximum: 10 }, new Exact('9007199254740993'), 'lr: expected an integer <= 10, got 9007199254740993'],
    [{ type: 'integer', maximum: parseJson('9007199254740992') }, new Exact('9007199254740993'), 'lr: expected an integer <= 9007199254740992, got 9007199254740993'],
    [{ type: 'number', multipleOf: 0.1 }, 0.3, null],
    [{ type: 'integer', multipleOf: 8 }, 12, 'lr: expected an integer a multiple of 8, got 12'],
    [{ enum: ['a', 1] }, 1, null],
    [{ enum: ['a', 1] }, '1', "lr: expected one of 'a', 1, got '1'"],
    [{ type: 'boolean' }, 'true', "lr: expected true or false, got 'true'"],
    [{ type: 'string', maxLength: 2 }, '😀😀', null],
    [{ type: 'string', pattern: '^a+$' }, 'b', "lr: expected a string matching '^a+$', got 'b'"],
    [{ type: 'string', pattern: '(?P<x>a)' }, 'b', null],
    [PLAN, null, null],
    [PLAN, { warmup: 1 }, null],
    [PLAN, { warmup: -1 }, 'lr.warmup: expected an integer >= 0, got -1'],
    [PLAN, {}, "lr: missing 'warmup'"],
    [PLAN, { warmup: 1, color: 2 }, "lr: no field 'color'; known: warmup, name"],
    [PLAN, 3, 'lr: expected an object {warmup, name?} or null, got 3'],
    [{ type: 'array', items: RATE }, [0.5, 2], 'lr[1]: expected a number > 0 and <= 1, got 2'],
    [{ type: 'array', prefixItems: [{ type: 'integer' }], maxItems: 1, items: false }, [1, 2], 'lr: expected a list [an integer], got [1,2]'],
    [{ type: 'object', additionalProperties: { type: 'integer' } }, { a: 'x' }, "lr.a: expected an integer, got 'x'"],
    [{ anyOf: [{ type: 'integer' }, { type: 'string' }] }, 1.5, 'lr: expected an integer or a string, got 1.5'],
    [{}, { any: ['thing'] }, null],
    [{ type: 'object', properties: {}, additionalProperties: false }, { __proto__x: 1 }, "lr: no field '__proto__x'; known: "],
  ])('%j, %j', (schema, value, said) => {
    expect(violation('lr', schema, value)).toBe(said)
  })
})

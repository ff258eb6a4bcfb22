import { describe, expect, it } from 'vitest'

import { Exact, writeJson } from '../json/exact'
import { draftOf, fieldFor, readDraft, shareOf } from './fields'
import type { Schema } from './schema'

const OPTIMIZER = { title: 'Opt', enum: ['adam', 'sgd'], 'x-enum-names': ['ADAM', 'SGD'] }

describe('the field for a schema', () => {
  it.each<[string, Schema, object]>([
    ['two bounds', { type: 'number', exclusiveMinimum: 0, maximum: 1 }, { kind: 'number', whole: false, slider: { log: true } }],
    ['a linear range', { type: 'integer', minimum: 1, maximum: 64 }, { kind: 'number', whole: true, slider: { log: false } }],
    ['one bound', { type: 'number', minimum: 0 }, { kind: 'number', slider: null }],
    ['a number or none', { anyOf: [{ type: 'integer', minimum: 1 }, { type: 'null' }] }, { kind: 'number', whole: true, optional: true }],
    ['an integer or a float', { anyOf: [{ type: 'integer' }, { type: 'number' }] }, { kind: 'number', whole: false, slider: null }],
    ['an enum', OPTIMIZER, { kind: 'choice', choices: [{ value: 'adam', title: 'ADAM (adam)' }, { value: 'sgd', title: 'SGD (sgd)' }] }],
    ['an optional enum', { anyOf: [OPTIMIZER, { type: 'null' }] }, { kind: 'choice', optional: true }],
    ['constants', { anyOf: [{ const: 1 }, { const: 'a' }] }, { kind: 'choice', choices: [{ value: 1 }, { value: 'a' }] }],
    ['a literal with null', { enum: [null, 1, 'a'] }, { kind: 'choice', optional: false, choices: [{ value: null, title: 'null' }, {}, {}] }],
    ['a flag', { type: 'boolean' }, { kind: 'switch' }],
    ['text', { type: 'string', pattern: '^a' }, { kind: 'text' }],
    ['a list', { type: 'array', items: { type: 'number' } }, { kind: 'json', bare: false }],
    ['a struct by reference', { anyOf: [{ $ref: '#/$defs/P' }, { type: 'null' }], $defs: { P: { type: 'object' } } }, { kind: 'json', optional: true }],
    ['anything', {}, { kind: 'json' }],
    ['a number or text', { anyOf: [{ type: 'number' }, { type: 'string' }] }, { kind: 'json', bare: true }],
    ['a range without end', { type: 'number', minimum: -1e308, maximum: 1e308 }, { kind: 'number', slider: null }],
  ])('%s', (_name, schema, expected) => {
    expect(fieldFor(schema)).toMatchObject(expected)
  })
})

describe('a value that was edited', () => {
  it.each<[Schema, string, string]>([
    [{ type: 'number' }, '1e-4', '0.0001'],
    [{ type: 'number' }, 'nan', '"NaN"'],
    [{ type: 'integer' }, '9007199254740993', '9007199254740993'],
    [{ type: 'string' }, '1', '"1"'],
    [{ type: 'boolean' }, 'true', 'true'],
    [OPTIMIZER, '1', '"sgd"'],
    [{ type: 'array', items: {} }, '[1.0, 9007199254740993, NaN]', '[1.0,9007199254740993,"NaN"]'],
    [{ anyOf: [{ type: 'integer' }, { type: 'string' }] }, 'text', '"text"'],
    [{ anyOf: [{ type: 'integer' }, { type: 'string' }] }, '"1"', '"1"'],
    [{ anyOf: [{ type: 'integer' }, { type: 'string' }] }, '1', '1'],
    [{}, '1.0', '1.0'],
  ])('%j: %s is sent as %s', (schema, draft, sent) => {
    const reading = readDraft('x', schema, fieldFor(schema), draft)
    expect(reading.problem).toBeUndefined()
    expect(writeJson(reading.problem === undefined && reading.value)).toBe(sent)
  })

  it.each<[Schema, string, string]>([
    [{ type: 'number', exclusiveMinimum: 0, maximum: 1 }, 'banana', "lr: expected a number > 0 and <= 1, got 'banana'"],
    [{ type: 'number', exclusiveMinimum: 0, maximum: 1 }, '2', 'lr: expected a number > 0 and <= 1, got 2'],
    [{ type: 'integer' }, '1.5', "lr: expected an integer, got '1.5'"],
    [{ type: 'array' }, '[1,\n  2', 'lr: line 2, column 4: expected , or ], got the end of the text'],
    [{ type: 'object', properties: { a: { type: 'integer' } } }, '{"a": 1.5}', 'lr.a: expected an integer, got 1.5'],
    [OPTIMIZER, '', "lr: expected one of 'adam', 'sgd', got ''"],
  ])('%j: %s is refused', (schema, draft, said) => {
    expect(readDraft('lr', schema, fieldFor(schema), draft).problem).toBe(said)
  })

  it('may be none where null is admitted, and nowhere else', () => {
    const optional = { anyOf: [{ type: 'integer' }, { type: 'null' }] }
    expect(readDraft('n', optional, fieldFor(optional), null)).toEqual({ value: null })
    expect(draftOf(null, fieldFor(optional))).toBeNull()
    expect(readDraft('n', { type: 'integer' }, fieldFor({ type: 'integer' }), null).problem).toBe('n: expected an integer, got null')
  })

  it.each<[Schema, unknown]>([
    [{ type: 'integer' }, new Exact('9007199254740993')],
    [{ type: 'number' }, 1e-7],
    [{ type: 'number' }, 'Infinity'],
    [{ type: 'number' }, 1e300],
    [OPTIMIZER, 'sgd'],
    [{ type: 'boolean' }, true],
    [{ type: 'string' }, ' a "quoted"\nline '],
    [{ type: 'array' }, [1, new Exact('2.0'), { a: null }]],
    [{}, null],
  ])('%j: %j comes back from its field as it went in', (schema, value) => {
    const field = fieldFor(schema)
    const reading = readDraft('x', schema, field, draftOf(value, field))
    expect(reading.problem).toBeUndefined()
    expect(writeJson(reading.problem === undefined && reading.value).replace('1e+300', '1e300')).toBe(writeJson(value).replace('1e+300', '1e300'))
  })

  it('is never put on a bound that is not admitted by the slider', () => {
    const half = fieldFor({ type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 })
    const signed = fieldFor({ type: 'number', exclusiveMinimum: -1, exclusiveMaximum: 1 })
    for (const [field, low] of [[half, 0], [signed, -1]] as const) {
      if (field.kind !== 'number' || field.slider === null) throw new Error('no slider')
      expect(field.slider.toValue(0)).toBeGreaterThan(low)
      expect(field.slider.toValue(1)).toBeLessThan(1)
      expect(shareOf(field.slider, 'banana')).toBe(0)
      expect(shareOf(field.slider, '5')).toBe(1)
    }
  })
})

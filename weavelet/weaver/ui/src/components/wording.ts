import { asNumber } from './numbers'
import { isRecord, writeJson } from '../json/exact'
import { type Schema, bounds, kindsOf, listed, record, resolve, variants } from './schema'

const ARTICLES: Readonly<Record<string, string>> = {
  number: 'a number',
  integer: 'an integer',
  string: 'a string',
  boolean: 'true or false',
  null: 'null',
  array: 'a list',
  object: 'an object',
}
const PLURALS: Readonly<Record<string, string>> = {
  number: 'numbers',
  integer: 'integers',
  string: 'strings',
  boolean: 'true or false',
  array: 'lists',
  object: 'objects',
}

/** What a schema asks for, as it stands after "expected": `a number > 0 and <= 1`. */
export function describe(schema: unknown, root: Schema): string {
  if (schema === false) return 'nothing more'
  if (!isRecord(schema)) return 'any value'
  const texts = variants(schema, root).map((variant) => describeOne(variant, root))
  return [...new Set(texts)].join(' or ')
}

/** A value as it would be typed in JSON; a bare string in single quotes. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'string') return quote(value)
  return writeJson(value)
}

/** A value as it stands beside its name: numbers and words bare, text in quotes where it is none. */
export function showBare(value: unknown): string {
  if (typeof value === 'string') return value
  return value === undefined || value === null ? 'null' : writeJson(value)
}

function quote(text: string): string {
  const inner = text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  return inner.includes("'") && !inner.includes('"') ? `"${inner}"` : `'${inner.replaceAll("'", "\\'")}'`
}

function describeOne(schema: Schema, root: Schema): string {
  const choices = listed(schema)
  if (choices !== null) {
    const shown = choices.map(show).join(', ')
    return choices.length === 1 ? shown : `one of ${shown}`
  }
  const kinds = kindsOf(schema)
  return kinds.map((kind) => describeKind(kind, schema, root)).join(' or ') || 'any value'
}

function describeKind(kind: string, schema: Schema, root: Schema): string {
  const text = ARTICLES[kind] ?? 'any value'
  if (kind === 'number' || kind === 'integer') return text + numericBounds(schema)
  if (kind === 'string') {
    const pattern = schema['pattern']
    const matching = typeof pattern === 'string' ? ` matching ${quote(pattern)}` : ''
    return text + lengths('character', schema, 'minLength', 'maxLength') + matching
  }
  if (kind === 'array') return text + items(schema, root)
  const fields = Object.keys(record(schema['properties']))
  if (kind !== 'object' || fields.length === 0) return text
  const required = new Set(Array.isArray(schema['required']) ? schema['required'] : [])
  return `an object {${fields.map((name) => (required.has(name) ? name : `${name}?`)).join(', ')}}`
}

function numericBounds(schema: Schema): string {
  const texts = bounds(schema).map(({ sign, limit }) =>
    // A bound that keeps out the infinities alone.
    sign.endsWith('=') && Math.abs(asNumber(limit) ?? 0) === Number.MAX_VALUE ? 'finite' : `${sign} ${showBare(limit)}`,
  )
  const multiple = schema['multipleOf']
  if (asNumber(multiple) !== undefined) texts.push(`a multiple of ${showBare(multiple)}`)
  return texts.length ? ` ${[...new Set(texts)].join(' and ')}` : ''
}

function lengths(unit: string, schema: Schema, low: string, high: string): string {
  const least = schema[low]
  const most = schema[high]
  if (typeof least !== 'number' && typeof most !== 'number') return ''
  if (least === most) return ` of ${showBare(least)} ${unit}${least === 1 ? '' : 's'}`
  const parts = []
  if (typeof least === 'number') parts.push(`at least ${least}`)
  if (typeof most === 'number') parts.push(`at most ${most}`)
  return ` of ${parts.join(' and ')} ${unit}s`
}

function items(schema: Schema, root: Schema): string {
  const prefix = schema['prefixItems']
  if (Array.isArray(prefix)) return ` [${prefix.map((item) => describe(item, root)).join(', ')}]`
  const inner = schema['items']
  const size = lengths('item', schema, 'minItems', 'maxItems')
  if (!isRecord(inner) || Object.keys(inner).length === 0) return size
  const item = resolve(inner, root)
  const kind = item['type']
  if (typeof kind === 'string' && kind in PLURALS && listed(item) === null) {
    const limits = kind === 'number' || kind === 'integer' ? numericBounds(item) : ''
    return ` of ${PLURALS[kind] ?? ''}${limits}${size ? `,${size.replace(/^ of/, '')}` : ''}`
  }
  return `${size}, each ${describe(inner, root)}`
}


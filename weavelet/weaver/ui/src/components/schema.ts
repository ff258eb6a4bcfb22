import { Exact, isRecord, same } from '../json/exact'
import { asNumber, isWhole } from './numbers'
import { isSlow } from './patterns'
import { describe, show } from './wording'

/** A JSON Schema as a replica registered it, or a part of one. */
export type Schema = Readonly<Record<string, unknown>>

const BOUNDS = [
  ['exclusiveMinimum', '>'],
  ['minimum', '>='],
  ['exclusiveMaximum', '<'],
  ['maximum', '<='],
] as const
const DEEPEST = 32

/** A bound of a number. */
export interface Bound {
  readonly sign: '>' | '>=' | '<' | '<='
  readonly limit: unknown
}

/** The part as fields, without any if it is no object. */
export function record(part: unknown): Schema {
  return isRecord(part) ? part : {}
}

/** The schema with its `$ref` into `$defs` of the root followed; what stands beside it is kept. */
export function resolve(schema: Schema, root: Schema): Schema {
  let found = schema
  for (let depth = 0; depth < DEEPEST; depth++) {
    const { $ref: reference, ...rest } = found
    if (typeof reference !== 'string') break
    found = { ...record(record(root['$defs'])[reference.replace('#/$defs/', '')]), ...rest }
  }
  return found
}

/** The alternatives of `anyOf` and `oneOf`, flattened; the schema itself without them. */
export function variants(schema: Schema, root: Schema, depth = 0): Schema[] {
  const found = resolve(schema, root)
  const options = found['anyOf'] ?? found['oneOf']
  if (!Array.isArray(options) || options.length === 0 || depth > DEEPEST) return [found]
  return options.flatMap((option) => variants(record(option), root, depth + 1))
}

/** The JSON types that one alternative names. */
export function kindsOf(schema: Schema): string[] {
  const kinds = schema['type']
  if (typeof kinds === 'string') return [kinds]
  return Array.isArray(kinds) ? kinds.filter((kind): kind is string => typeof kind === 'string') : []
}

/** The values of `enum` or `const`, null without them. */
export function listed(schema: Schema): unknown[] | null {
  if (Array.isArray(schema['enum'])) return schema['enum']
  return 'const' in schema ? [schema['const']] : null
}

/** The bounds of a number, lower ones first. */
export function bounds(schema: Schema): Bound[] {
  return BOUNDS.filter(([key]) => asNumber(schema[key]) !== undefined).map(([key, sign]) => ({
    sign,
    limit: schema[key],
  }))
}

/**
 * What is wrong with a value, with the path to the place, as the command line words it; null if
 * nothing is. What this does not know it lets pass: the weaver and the trainer check again.
 */
export function violation(name: string, schema: Schema, value: unknown): string | null {
  const fault = faultIn(schema, value, schema, name, 0)
  return fault === null ? null : `${fault.path}: ${fault.text}`
}

interface Fault {
  readonly path: string
  readonly text: string
}

function faultIn(part: unknown, value: unknown, root: Schema, path: string, depth: number): Fault | null {
  if (part === false) return { path, text: `expected nothing more, got ${show(value)}` }
  if (!isRecord(part) || depth > DEEPEST) return null
  const options = variants(part, root)
  const faults: Fault[] = []
  for (const option of options) {
    const fault = faultInOne(option, value, root, path, depth)
    if (fault === null) return null
    faults.push(fault)
  }
  // The one inside says more than the list of all alternatives.
  const inner = faults.filter((fault) => fault.path !== path || !fault.text.startsWith('expected'))
  const deepest = inner.length === 1 ? inner[0] : undefined
  return deepest ?? { path, text: `expected ${describe(part, root)}, got ${show(value)}` }
}

function faultInOne(schema: Schema, value: unknown, root: Schema, path: string, depth: number): Fault | null {
  const fault = { path, text: `expected ${describe(schema, root)}, got ${show(value)}` }
  const choices = listed(schema)
  if (choices !== null && !choices.some((choice) => same(choice, value))) return fault
  const kinds = kindsOf(schema)
  if (kinds.length > 0 && !kinds.some((kind) => isOfKind(kind, value))) return fault
  if (Array.isArray(value)) return outOfSize(schema, value.length, 'Items') ? fault : inList(schema, value, root, path, depth)
  if (isRecord(value) && !(value instanceof Exact)) return inObject(schema, value, root, path, depth)
  if (kinds.some((kind) => kind === 'number' || kind === 'integer')) return outOfBounds(schema, value) ? fault : null
  if (typeof value === 'string') return outOfSize(schema, [...value].length, 'Length') || unmatched(schema, value) ? fault : null
  return null
}

function isOfKind(kind: string, value: unknown): boolean {
  switch (kind) {
    case 'null':
      return value === null
    case 'boolean':
    case 'string':
      return typeof value === kind
    case 'number':
      return asNumber(value) !== undefined
    case 'integer':
      return isWhole(value)
    case 'array':
      return Array.isArray(value)
    case 'object':
      return isRecord(value) && !(value instanceof Exact)
  }
  return true
}

function outOfBounds(schema: Schema, value: unknown): boolean {
  const number = asNumber(value)
  if (number === undefined) return false
  const limits = bounds(schema)
  // Every comparison with NaN is false, so that no bound would be crossed.
  if (Number.isNaN(number)) return limits.length > 0 || 'multipleOf' in schema
  const crossed = limits.some(({ sign, limit }) => {
    const order = compare(value, limit)
    return sign === '>' ? order <= 0 : sign === '>=' ? order < 0 : sign === '<' ? order >= 0 : order > 0
  })
  return crossed || !isMultiple(number, asNumber(schema['multipleOf']))
}

function isMultiple(number: number, of: number | undefined): boolean {
  if (of === undefined || of <= 0) return true
  const times = number / of
  return Number.isFinite(times) && Math.abs(times - Math.round(times)) <= 1e-9 * Math.max(1, Math.abs(times))
}

function compare(one: unknown, other: unknown): number {
  const whole = [one, other].map((value) => (value instanceof Exact ? value.text : String(value)))
  if (whole.every((text) => /^-?\d+$/.test(text))) {
    const [a, b] = whole.map(BigInt)
    return a === undefined || b === undefined || a === b ? 0 : a < b ? -1 : 1
  }
  return (asNumber(one) ?? 0) - (asNumber(other) ?? 0)
}

function outOfSize(schema: Schema, size: number, unit: 'Items' | 'Length'): boolean {
  const least = schema[`min${unit}`]
  const most = schema[`max${unit}`]
  return (typeof least === 'number' && size < least) || (typeof most === 'number' && size > most)
}

function unmatched(schema: Schema, text: string): boolean {
  const pattern = schema['pattern']
  if (typeof pattern !== 'string' || isSlow(pattern, text)) return false
  try {
    return !new RegExp(pattern, 'u').test(text)
  } catch {
    // Python's, which this engine cannot read.
    return false
  }
}

function inList(schema: Schema, value: readonly unknown[], root: Schema, path: string, depth: number): Fault | null {
  const prefix = Array.isArray(schema['prefixItems']) ? schema['prefixItems'] : []
  for (const [at, item] of value.entries()) {
    const fault = faultIn(at < prefix.length ? prefix[at] : schema['items'], item, root, `${path}[${at}]`, depth + 1)
    if (fault !== null) return fault
  }
  return null
}

function inObject(schema: Schema, value: Schema, root: Schema, path: string, depth: number): Fault | null {
  const properties = record(schema['properties'])
  const required = Array.isArray(schema['required']) ? schema['required'] : []
  const missing = required.filter((name) => typeof name === 'string' && !Object.hasOwn(value, name))
  if (missing.length > 0) return { path, text: `missing ${missing.map(show).join(', ')}` }
  for (const [name, item] of Object.entries(value)) {
    const known = Object.hasOwn(properties, name)
    if (!known && schema['additionalProperties'] === false) {
      return { path, text: `no field ${show(name)}; known: ${Object.keys(properties).join(', ')}` }
    }
    const part = known ? properties[name] : schema['additionalProperties']
    const fault = faultIn(part, item, root, `${path}.${name}`, depth + 1)
    if (fault !== null) return fault
  }
  return null
}

import { jsonFault } from './fault'

/** A number as its JSON text, where a double would lose digits or that it is no integer. */
export class Exact {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  /** As near as `JSON.stringify` gets; `writeJson` gets it right everywhere. */
  toJSON(): unknown {
    return Number(this.text)
  }
}

/** Text that is not JSON, and the place, counted from 1. */
export class JsonProblem extends Error {
  readonly line: number
  readonly column: number

  constructor(message: string, line: number, column: number) {
    super(message)
    this.name = 'JsonProblem'
    this.line = line
    this.column = column
  }
}

const TOKENS = /"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g
const FIELD = '\u0000exact'

/**
 * Data from JSON text. Integers beyond 2^53 and floats without a fraction (`1.0`, `1e5`) are
 * `Exact`; the bare words NaN, Infinity and -Infinity are their names as text, as on the wire.
 *
 * @throws {JsonProblem} saying where.
 */
export function parseJson(text: string): unknown {
  const marked = text.replace(TOKENS, (token) => {
    if (token.startsWith('"')) return token
    if (/[NI]/.test(token)) return JSON.stringify(token)
    return isExact(token) ? JSON.stringify({ [FIELD]: token }) : token
  })
  try {
    return JSON.parse(marked, (_key, value: unknown) => {
      if (!isRecord(value)) return value
      const exact = value[FIELD]
      return typeof exact === 'string' ? new Exact(exact) : value
    })
  } catch {
    throw problemIn(text)
  }
}

/** JSON text of data in which numbers may be `Exact`. */
export function writeJson(value: unknown, indent = 0): string {
  let mark = '\u0001'
  const plain = JSON.stringify(value) ?? 'null'
  while (plain.includes(JSON.stringify(mark).slice(1, -1))) mark += '\u0001'
  const text = JSON.stringify(
    value,
    function (this: Record<string, unknown>, key: string, item: unknown) {
      const held = this[key]
      return held instanceof Exact ? mark + held.text : item
    },
    indent,
  )
  const written = JSON.stringify(mark).slice(1, -1)
  return (text ?? 'null').replaceAll(
    new RegExp(`"${written.replaceAll('\\', '\\\\')}([-+.\\deE]+)"`, 'g'),
    '$1',
  )
}

/** Whether two pieces of data are the same; 1 and 1.0 are. */
export function same(one: unknown, other: unknown): boolean {
  return canonical(one) === canonical(other)
}

function canonical(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, key: string, item: unknown) {
    const held = this[key]
    if (held instanceof Exact) {
      const near = Number(held.text)
      return String(near) === held.text || !/^-?\d+$/.test(held.text) ? near : { digits: held.text }
    }
    if (!isRecord(item)) return item
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
  }) ?? 'null'
}

/** Whether this is an object with fields, no list. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isExact(token: string): boolean {
  const near = Number(token)
  return /^-?\d+$/.test(token) ? !Number.isSafeInteger(near) : Number.isInteger(near)
}

function problemIn(text: string): JsonProblem {
  const fault = jsonFault(text)
  if (fault === null) return new JsonProblem('expected JSON', 1, 1)
  const { position, wanted } = fault
  const line = text.slice(0, position).split('\n').length
  const column = position - text.lastIndexOf('\n', position - 1)
  const found = [...text.slice(position, position + 2)][0]
  const got = found === undefined ? 'the end of the text' : JSON.stringify(found)
  return new JsonProblem(`expected ${wanted}, got ${got}`, line, column)
}

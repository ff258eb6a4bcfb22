import { Exact, JsonProblem, isRecord, parseJson, same, writeJson } from '../json/exact'
import { type Scale, asNumber, readInteger, readNumber, sliderScale } from './numbers'
import { type Schema, bounds, kindsOf, listed, variants, violation } from './schema'
import { describe, show, showBare } from './wording'

/** How a value is asked for. `optional` admits null beside what the field itself gives. */
export type Field = { readonly optional: boolean } & (
  | { readonly kind: 'number'; readonly whole: boolean; readonly slider: Scale | null }
  | { readonly kind: 'choice'; readonly choices: readonly Choice[] }
  | { readonly kind: 'switch' }
  | { readonly kind: 'text' }
  | { readonly kind: 'json'; readonly bare: boolean }
)

/** One of the values of a choice, and its name. */
export interface Choice {
  readonly value: unknown
  readonly title: string
}

/** A value as it is edited: text, for a choice the position of what is chosen; null is no value. */
export type Draft = string | null

/** What was read out of a draft, or why nothing could be. */
export type Reading = { readonly value: unknown; readonly problem?: undefined } | { readonly problem: string }

/** The field for a schema; what has no field of its own is edited as JSON. */
export function fieldFor(schema: Schema): Field {
  const all = variants(schema, schema)
  const some = all.filter((variant) => kindsOf(variant).join() !== 'null')
  const optional = some.length < all.length
  if (some.length > 0 && some.every((variant) => listed(variant) !== null)) {
    return { kind: 'choice', optional, choices: some.flatMap(choicesOf) }
  }
  const kinds = new Set(some.flatMap((variant) => (listed(variant) === null ? kindsOf(variant) : ['listed'])))
  const [only] = some
  if (kinds.size > 0 && [...kinds].every((kind) => kind === 'number' || kind === 'integer')) {
    const whole = !kinds.has('number')
    return { kind: 'number', optional, whole, slider: some.length === 1 && only !== undefined ? sliderFor(only, whole) : null }
  }
  if (some.length === 1 && kinds.has('boolean') && kinds.size === 1) return { kind: 'switch', optional }
  if (some.length === 1 && kinds.has('string') && kinds.size === 1) return { kind: 'text', optional }
  return { kind: 'json', optional: optional && some.length > 0, bare: kinds.has('string') }
}

/** A value as the field shows it. */
export function draftOf(value: unknown, field: Field): Draft {
  if (value === undefined) return field.kind === 'switch' ? 'false' : ''
  if (value === null && field.optional) return null
  switch (field.kind) {
    case 'choice': {
      const at = field.choices.findIndex((choice) => same(choice.value, value))
      return at < 0 ? '' : String(at)
    }
    case 'json':
      return writeJson(value, isRecord(value) || Array.isArray(value) ? 2 : 0)
    default:
      return showBare(value)
  }
}

/** The value that a draft stands for, checked against the schema. */
export function readDraft(name: string, schema: Schema, field: Field, draft: Draft): Reading {
  if (draft === null) return checked(name, schema, null)
  switch (field.kind) {
    case 'choice': {
      const choice = field.choices[draft === '' ? -1 : Number(draft)]
      return choice === undefined ? wrong(name, schema, draft) : { value: choice.value }
    }
    case 'switch':
      return { value: draft === 'true' }
    case 'text':
      return checked(name, schema, draft)
    case 'number': {
      const value = field.whole ? readInteger(draft) : readNumber(draft)
      return value === undefined ? wrong(name, schema, draft) : checked(name, schema, value)
    }
    case 'json':
      return readJson(name, schema, field.bare, draft)
  }
}

/** Bounds of the field in words, for its hint. */
export function hintFor(schema: Schema): string {
  return describe(schema, schema)
}

/** The slider's position for a draft, between 0 and 1. */
export function shareOf(scale: Scale, draft: Draft): number {
  const value = draft === null ? undefined : asNumber(readNumber(draft))
  return value === undefined || Number.isNaN(value) ? 0 : scale.toShare(value)
}

function readJson(name: string, schema: Schema, bare: boolean, draft: string): Reading {
  try {
    return checked(name, schema, parseJson(draft))
  } catch (error) {
    if (!(error instanceof JsonProblem)) throw error
    if (bare && violation(name, schema, draft) === null) return { value: draft }
    return { problem: `${name}: line ${error.line}, column ${error.column}: ${error.message}` }
  }
}

function checked(name: string, schema: Schema, value: unknown): Reading {
  const problem = violation(name, schema, value)
  return problem === null ? { value } : { problem }
}

function wrong(name: string, schema: Schema, draft: string): Reading {
  return { problem: `${name}: expected ${describe(schema, schema)}, got ${show(draft)}` }
}

function choicesOf(schema: Schema): Choice[] {
  const names = schema['x-enum-names']
  return (listed(schema) ?? []).map((value, at) => {
    const named: unknown = Array.isArray(names) ? names[at] : undefined
    const text = showBare(value)
    return { value, title: typeof named === 'string' && named !== text ? `${named} (${text})` : text }
  })
}

function sliderFor(schema: Schema, whole: boolean): Scale | null {
  const limits = bounds(schema)
  const lower = limits.find(({ sign }) => sign.startsWith('>'))
  const upper = limits.find(({ sign }) => sign.startsWith('<'))
  if (lower === undefined || upper === undefined) return null
  const openLow = lower.sign === '>'
  const openHigh = upper.sign === '<'
  const low = Number(asNumber(lower.limit)) + (openLow && whole ? 1 : 0)
  const high = Number(asNumber(upper.limit)) - (openHigh && whole ? 1 : 0)
  const exact = [lower.limit, upper.limit].some((limit) => limit instanceof Exact && !Number.isSafeInteger(Number(limit.text)))
  if (exact || !(low < high) || !Number.isFinite(high - low)) return null
  const scale = sliderScale(low, high, openLow, whole)
  if (whole || (!openLow && !openHigh)) return scale
  // The ends themselves are not allowed.
  const from = openLow && !scale.log ? 0.001 : openLow && low > 0 ? 0.001 : 0
  const to = openHigh ? 0.999 : 1
  return { ...scale, toValue: (share) => scale.toValue(Math.min(to, Math.max(from, share))) }
}

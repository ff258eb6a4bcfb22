import type { Json } from '../protocol'
import { numberOf } from '../stores/samples'

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })

/** A number with five digits that mean something; what is no number stays as it is. */
export function figure(value: Json | undefined): string {
  if (typeof value === 'boolean') return String(value)
  const number = numberOf(value)
  if (number === null) return typeof value === 'string' ? value : ''
  if (Number.isNaN(number)) return 'NaN'
  if (!Number.isFinite(number)) return number > 0 ? 'Infinity' : '-Infinity'
  if (Number.isInteger(number) && Math.abs(number) < 1e7) return String(number)
  const size = Math.abs(number)
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return number.toExponential(3)
  return String(Number(number.toPrecision(5)))
}

export function count(value: number): string {
  return whole.format(value)
}

/** Steps a second. */
export function rate(value: number): string {
  return value > 0 ? `${Number(value.toPrecision(3))}/s` : ''
}

/** The metric to show where there is room for one: the loss. */
export function lossName(names: Iterable<string>): string | undefined {
  const all = [...names]
  const ends = (name: string) => /(^|[/_. -])loss$/i.test(name)
  return all.find((name) => name === 'loss') ?? all.find(ends) ?? all.find((name) => /loss/i.test(name))
}

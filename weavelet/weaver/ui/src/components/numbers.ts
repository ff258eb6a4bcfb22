import { Exact } from '../json/exact'

const WORDS: Readonly<Record<string, string>> = {
  nan: 'NaN',
  inf: 'Infinity',
  infinity: 'Infinity',
}
const LEAST = -(2n ** 63n)
const MOST = 2n ** 63n - 1n

/**
 * The integer that text stands for, `Exact` beyond 2^53; undefined if it is none of 64 bits.
 * `1e3` and `5.0` are integers, as they are on the command line.
 */
export function readInteger(text: string): number | Exact | undefined {
  const plain = text.trim().replace(/^\+/, '')
  if (!/^-?\d+$/.test(plain)) {
    const real = plain === '' || /[^\d.eE+-]/.test(plain) ? NaN : Number(plain)
    return Number.isSafeInteger(real) ? real + 0 : undefined
  }
  const whole = BigInt(plain)
  if (whole < LEAST || whole > MOST) return undefined
  return Number.isSafeInteger(Number(whole)) ? Number(whole) + 0 : new Exact(String(whole))
}

/**
 * The number that text stands for: NaN and the infinities are their words as on the wire, what a
 * double would write as a huge integer stays as it was typed. Undefined if it is no number.
 */
export function readNumber(text: string): number | string | Exact | undefined {
  const plain = text.trim().replace(/^\+/, '')
  const word = WORDS[plain.replace(/^-/, '').toLowerCase()]
  if (word !== undefined) return plain.startsWith('-') && word !== 'NaN' ? `-${word}` : word
  if (!/^-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(plain)) return undefined
  const real = Number(plain)
  if (!Number.isFinite(real)) return undefined
  if (!Number.isInteger(real) || Number.isSafeInteger(real)) return real
  if (/^-?\d+$/.test(plain)) return BigInt(plain) <= MOST && BigInt(plain) >= LEAST ? new Exact(String(BigInt(plain))) : new Exact(`${plain}.0`)
  return new Exact(real.toExponential())
}

/** The number behind a value as the wire has it, undefined if it is none. */
export function asNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  if (value instanceof Exact) return Number(value.text)
  if (value === 'NaN' || value === 'Infinity' || value === '-Infinity') return Number(value)
  return undefined
}

/** Whether a value is a number without a fraction, written as one. */
export function isWhole(value: unknown): boolean {
  if (value instanceof Exact) return Number.isInteger(Number(value.text))
  return Number.isInteger(value)
}

/** The position between 0 and 1 of a value between bounds, and back; logarithmic over decades. */
export interface Scale {
  readonly log: boolean
  toShare(value: number): number
  toValue(share: number): number
}

/**
 * The scale of a slider. It is logarithmic where the range spans two decades or more above 0; an
 * open bound at 0 then begins six decades below the upper one.
 */
export function sliderScale(low: number, high: number, openLow: boolean, whole: boolean): Scale {
  const floor = low > 0 ? low : openLow && !whole ? high * 1e-6 : 0
  const log = floor > 0 && high / floor >= 100
  const clamp = (share: number) => Math.min(1, Math.max(0, share))
  if (log) {
    const span = Math.log(high / floor)
    return {
      log,
      toShare: (value) => (value <= floor ? 0 : clamp(Math.log(value / floor) / span)),
      toValue: (share) => rounded(share >= 1 ? high : floor * Math.exp(span * clamp(share)), whole, high),
    }
  }
  return {
    log,
    toShare: (value) => clamp((value - low) / (high - low)),
    toValue: (share) => rounded(low + (high - low) * clamp(share), whole, high - low),
  }
}

function rounded(value: number, whole: boolean, range: number): number {
  if (whole) return Math.round(value)
  if (value === 0) return 0
  // Three figures, but never coarser than a thousandth of a linear range.
  const digits = Math.max(3, Math.ceil(Math.log10(Math.abs(value) / range)) + 3)
  return Number(value.toPrecision(Math.min(15, digits)))
}

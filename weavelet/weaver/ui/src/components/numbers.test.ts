import { describe, expect, it } from 'vitest'

import { Exact, writeJson } from '../json/exact'
import { readInteger, readNumber, sliderScale } from './numbers'

describe('a number that was typed', () => {
  it.each([
    ['1e-4', '0.0001'],
    [' 0.5 ', '0.5'],
    ['.5', '0.5'],
    ['5.', '5'],
    ['+3', '3'],
    ['1e300', '1e+300'],
    ['1e20', '1e+20'],
    ['9007199254740993', '9007199254740993'],
    ['99999999999999999999', '99999999999999999999.0'],
    ['nan', '"NaN"'],
    ['-inf', '"-Infinity"'],
    ['Infinity', '"Infinity"'],
  ])('%s is sent as %s', (text, sent) => {
    expect(writeJson(readNumber(text))).toBe(sent)
  })

  it.each(['banana', '', '1e400', '0x10', '1_000', '1,5', '--1', 'e5', '.'])('%j is none', (text) => {
    expect(readNumber(text)).toBeUndefined()
  })
})

describe('an integer that was typed', () => {
  it.each([
    ['12', '12'],
    ['-0', '0'],
    ['1e3', '1000'],
    ['5.0', '5'],
    ['9007199254740993', '9007199254740993'],
    ['-9223372036854775808', '-9223372036854775808'],
  ])('%s is sent as %s', (text, sent) => {
    expect(writeJson(readInteger(text))).toBe(sent)
  })

  it.each(['1.5', 'x', '', '9223372036854775808', '0x10', 'nan'])('%j is none', (text) => {
    expect(readInteger(text)).toBeUndefined()
  })

  it('is exact beyond 2^53', () => {
    expect(readInteger('9007199254740993')).toEqual(new Exact('9007199254740993'))
  })
})

describe('the scale of a slider', () => {
  it('is logarithmic over decades', () => {
    const scale = sliderScale(1e-6, 1, false, false)
    expect(scale.log).toBe(true)
    expect(scale.toValue(0.5)).toBeCloseTo(1e-3, 6)
    expect(scale.toShare(1e-3)).toBeCloseTo(0.5, 6)
    expect([scale.toValue(0), scale.toValue(1)]).toEqual([1e-6, 1])
  })

  it('begins above an open bound at 0', () => {
    const scale = sliderScale(0, 1, true, false)
    expect(scale.log).toBe(true)
    expect(scale.toValue(0)).toBe(1e-6)
    expect(scale.toShare(0)).toBe(0)
  })

  it('is linear in a narrow or signed range, and whole for integers', () => {
    expect(sliderScale(0, 1, false, false).toValue(0.25)).toBe(0.25)
    expect(sliderScale(-10, 10, false, true).toValue(0.26)).toBe(-5)
    expect(sliderScale(1, 64, false, true).toValue(1)).toBe(64)
  })
})

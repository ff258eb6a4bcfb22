import { describe, expect, it } from 'vitest'

import { Exact, writeJson } from '../json/exact'
import { readMessage } from './reading'

const entry =
  '{"type":"entry","id":"p2","entry":{"id":"e","sequence":7,"run":"r","job":"j","kind":"set",' +
  '"author":"a","time":1700000000.0,"body":{"values":{"seed":9007199254740993,"lr":1.0}},' +
  '"targets":[],"addressed":[],"at_step":null,"deadline":60.0},"state":"applied","settled":true,' +
  '"outcomes":[{"replica":"rank-0","outcome":"applied","step":5,"changes":[],"reason":null,' +
  '"result":1.0,"traceback":null,"adopted":false,"incarnation":"","config_hash":""}]}'

describe('reading', () => {
  it('keeps the digits of what was commanded, and times as plain numbers', () => {
    const message = readMessage(entry)
    if (message.type !== 'entry') throw new Error(message.type)
    expect(message.entry.time).toBe(1_700_000_000)
    expect(message.entry.deadline).toBe(60)
    expect(message.entry.at_step).toBeNull()
    expect(message.outcomes[0]?.step).toBe(5)
    expect(writeJson(message.entry.body)).toBe('{"values":{"seed":9007199254740993,"lr":1.0}}')
  })

  it('keeps the digits of a large control value in the fleet', () => {
    const replica =
      '{"run":"r","job":"j","replica":"a","rate":2.0,"controls":[{"name":"seed","kind":"control",' +
      '"schema":{"maximum":4.0},"value":9007199254740993}]}'
    const message = readMessage(
      `{"type":"status_update","jobs":[],"replicas":[${replica}],"removed":[],"devices":null,"rules":null}`,
    )
    if (message.type !== 'status_update') throw new Error(message.type)
    expect(message.replicas[0]?.rate).toBe(2)
    expect(message.replicas[0]?.controls[0]?.value).toEqual(new Exact('9007199254740993'))
    expect(message.replicas[0]?.controls[0]?.schema).toEqual({ maximum: 4 })
  })
})

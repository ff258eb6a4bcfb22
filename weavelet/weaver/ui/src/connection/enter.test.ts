import { describe, expect, it } from 'vitest'

import { socketUrl } from './browser'
import { enter, takeToken, tokenIn } from './enter'

describe('the way in', () => {
  it('finds the token in the link that `weavelet up` prints', () => {
    expect(tokenIn('#token=abc-_1')).toBe('abc-_1')
    expect(tokenIn('#/run/train')).toBeNull()
    expect(tokenIn('')).toBeNull()
    expect(tokenIn('#token=')).toBeNull()
  })

  it('takes the token out of the address bar and leaves the rest', () => {
    const shown: string[] = []
    const history = { replaceState: (_: unknown, __: string, url: string) => shown.push(url) }
    const location = { hash: '#token=abc', pathname: '/proxy/8080/', search: '?a=1' }
    expect(takeToken(location as Location, history as unknown as History)).toBe('abc')
    expect(shown).toEqual(['/proxy/8080/?a=1'])
  })

  it('exchanges the token and says what became of it', async () => {
    const asked: [unknown, RequestInit | undefined][] = []
    const answering = (status: number) =>
      ((url: unknown, init?: RequestInit) => {
        asked.push([url, init])
        return Promise.resolve(new Response(null, { status }))
      }) as typeof fetch
    expect(await enter('abc', answering(204))).toBe('in')
    expect(asked[0]?.[0]).toBe('session')
    expect(asked[0]?.[1]?.body).toBe('{"token":"abc"}')
    expect(await enter('abc', answering(401))).toBe('wrong')
    expect(await enter('abc', answering(502))).toBe('unreachable')
    expect(await enter('abc', () => Promise.reject(new TypeError('no network')))).toBe('unreachable')
  })
})

describe('the address of the WebSocket', () => {
  it('lies beside the page, whatever a proxy puts before it', () => {
    expect(socketUrl('http://127.0.0.1:8080/#/run/a')).toBe('ws://127.0.0.1:8080/ws')
    expect(socketUrl('https://hub/user/ann/proxy/8080/?x=1')).toBe('wss://hub/user/ann/proxy/8080/ws')
  })
})

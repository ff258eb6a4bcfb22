import type { World } from './link'

/** The URL of the WebSocket, beside the page, whatever path a proxy gives it. */
export function socketUrl(base: string): string {
  const url = new URL('ws', base)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  url.hash = ''
  url.search = ''
  return url.href
}

const PROBING = 5000

/** The real world: this browser. */
export const browser: World = {
  open: () => new WebSocket(socketUrl(document.baseURI)),
  probe: async () => {
    try {
      const signal = AbortSignal.timeout(PROBING)
      const answer = await fetch('ws', { credentials: 'same-origin', cache: 'no-store', signal })
      return answer.status
    } catch {
      return null
    }
  },
  later: (run, milliseconds) => {
    const timer = setTimeout(run, milliseconds)
    return () => {
      clearTimeout(timer)
    }
  },
  random: Math.random,
}

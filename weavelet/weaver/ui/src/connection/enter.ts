/** What became of the token in the link. `none`: there was none. */
export type Entered = 'none' | 'in' | 'wrong' | 'unreachable'

/** The token in a URL's fragment, null if it holds none. */
export function tokenIn(fragment: string): string | null {
  return new URLSearchParams(fragment.replace(/^#\/?/, '')).get('token') || null
}

/** Take the token out of the address bar: it must not stay in the history or on a shared screen. */
export function takeToken(location: Location, history: History): string | null {
  const token = tokenIn(location.hash)
  if (token !== null) history.replaceState(null, '', location.pathname + location.search)
  return token
}

/** Change the token for the cookie that the WebSocket is opened with. */
export async function enter(token: string, fetch: typeof globalThis.fetch): Promise<Entered> {
  try {
    const answer = await fetch('session', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ token }),
      credentials: 'same-origin',
    })
    if (answer.ok) return 'in'
    return answer.status === 401 || answer.status === 400 ? 'wrong' : 'unreachable'
  } catch {
    return 'unreachable'
  }
}

import { readonly, shallowRef } from 'vue'

export type Route = { view: 'fleet' } | { view: 'run'; run: string; job: string | null }

/** The place in the page that a URL's fragment names; the fleet if it names none. */
export function parse(fragment: string): Route {
  const [path = '', query = ''] = fragment.replace(/^#\/?/, '').split('?', 2)
  const [view, run] = path.split('/')
  if (view !== 'run' || !run) return { view: 'fleet' }
  try {
    return { view: 'run', run: decodeURIComponent(run), job: new URLSearchParams(query).get('job') }
  } catch {
    return { view: 'fleet' }
  }
}

export function href(route: Route): string {
  if (route.view === 'fleet') return '#/'
  const job = route.job === null ? '' : `?${new URLSearchParams({ job: route.job }).toString()}`
  return `#/run/${encodeURIComponent(route.run)}${job}`
}

const current = shallowRef<Route>(parse(location.hash))
addEventListener('hashchange', () => {
  current.value = parse(location.hash)
})

/** Where the page is. */
export const route = readonly(current)

export function go(to: Route): void {
  location.hash = href(to)
}

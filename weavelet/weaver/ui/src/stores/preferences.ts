import { defineStore } from 'pinia'
import { ref, watch } from 'vue'

export type Theme = 'system' | 'light' | 'dark'

export interface Preferences {
  theme: Theme
  /** Metrics with a logarithmic scale. */
  logScale: string[]
  /** The metrics that are drawn, by run. */
  charts: Record<string, string[]>
}

const PLACE = 'weavelet'
const MOST_RUNS = 50

/** What is stored, as far as it is sound: anything may have written there. */
export function decode(text: string | null): Preferences {
  const found: Preferences = { theme: 'system', logScale: [], charts: {} }
  let stored: unknown
  try {
    stored = JSON.parse(text ?? '{}')
  } catch {
    return found
  }
  if (typeof stored !== 'object' || stored === null) return found
  const fields = stored as Record<string, unknown>
  if (fields.theme === 'light' || fields.theme === 'dark') found.theme = fields.theme
  if (isNames(fields.logScale)) found.logScale = fields.logScale
  if (typeof fields.charts === 'object' && fields.charts !== null) {
    const sound = Object.entries(fields.charts).filter(([, names]) => isNames(names))
    found.charts = Object.fromEntries(sound.slice(-MOST_RUNS)) as Record<string, string[]>
  }
  return found
}

function isNames(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

/** A browser may refuse to store anything: then preferences last as long as the page. */
function read(): Preferences | null {
  try {
    return decode(localStorage.getItem(PLACE))
  } catch {
    return null
  }
}

/** What is stored, with what `now` changes of `known` on top: another tab may have changed the rest. */
export function merged(stored: Preferences, known: Preferences, now: Preferences): Preferences {
  const added = now.logScale.filter((name) => !known.logScale.includes(name) && !stored.logScale.includes(name))
  const kept = stored.logScale.filter((name) => !known.logScale.includes(name) || now.logScale.includes(name))
  const changed = Object.entries(now.charts).filter(
    ([run, names]) => !alike(names, Object.hasOwn(known.charts, run) ? known.charts[run] : null),
  )
  return {
    theme: now.theme === known.theme ? stored.theme : now.theme,
    logScale: [...kept, ...added],
    charts: Object.fromEntries([...Object.entries(stored.charts), ...changed]),
  }
}

export const usePreferences = defineStore('preferences', () => {
  let known = decode(null)
  const theme = ref<Theme>('system')
  const logScale = ref<string[]>([])
  const charts = ref<Record<string, string[]>>({})

  function take(found: Preferences): void {
    known = decode(JSON.stringify(found))
    if (theme.value !== found.theme) theme.value = found.theme
    if (!alike(logScale.value, found.logScale)) logScale.value = found.logScale
    if (!alike(charts.value, found.charts)) charts.value = found.charts
  }

  take(read() ?? known)
  watch(
    [theme, logScale, charts],
    () => {
      const now: Preferences = { theme: theme.value, logScale: logScale.value, charts: charts.value }
      const stored = read()
      if (stored === null || alike(now, known)) return
      const all = merged(stored, known, now)
      try {
        localStorage.setItem(PLACE, JSON.stringify(all))
      } catch {
        // Full or forbidden; see `read`.
        return
      }
      take(all)
    },
    { deep: true },
  )
  addEventListener('storage', (event) => {
    if (event.key === PLACE) take(decode(event.newValue))
  })

  return { theme, logScale, charts }
})

function alike(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

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
function read(): Preferences {
  try {
    return decode(localStorage.getItem(PLACE))
  } catch {
    return decode(null)
  }
}

export const usePreferences = defineStore('preferences', () => {
  const stored = read()
  const theme = ref<Theme>(stored.theme)
  const logScale = ref(stored.logScale)
  const charts = ref(stored.charts)

  watch(
    [theme, logScale, charts],
    () => {
      const now: Preferences = { theme: theme.value, logScale: logScale.value, charts: charts.value }
      try {
        localStorage.setItem(PLACE, JSON.stringify(now))
      } catch {
        // Full or forbidden; see `read`.
      }
    },
    { deep: true },
  )

  return { theme, logScale, charts }
})

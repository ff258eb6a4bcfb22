import { createVuetify, type ThemeDefinition } from 'vuetify'
import { aliases, mdi } from 'vuetify/iconsets/mdi-svg'

/** Vuetify's own would leave labels at a contrast below 4.5 to 1. */
const variables = { 'medium-emphasis-opacity': 0.8 }

const light: ThemeDefinition = {
  variables,
  dark: false,
  colors: {
    background: '#f6f7f9',
    surface: '#ffffff',
    primary: '#2f5fb3',
    secondary: '#4a5568',
    error: '#b3261e',
    warning: '#8a5300',
    success: '#1e6b34',
    info: '#0b6077',
  },
}

const dark: ThemeDefinition = {
  variables,
  dark: true,
  colors: {
    background: '#111418',
    surface: '#191d23',
    primary: '#9bbcff',
    secondary: '#a9b4c2',
    error: '#ffb4ab',
    warning: '#f5bd6f',
    success: '#86d993',
    info: '#7fd1e6',
  },
}

/** Vuetify with our colours. `cspNonce` is what the weaver admits the theme's style element by. */
export function makeVuetify(theme: 'system' | 'light' | 'dark' = 'light', cspNonce?: string) {
  return createVuetify({
    icons: { defaultSet: 'mdi', aliases, sets: { mdi } },
    theme: { defaultTheme: theme, cspNonce, themes: { light, dark } },
    defaults: {
      VBtn: { variant: 'tonal', density: 'comfortable' },
      VTextField: { variant: 'outlined', density: 'compact', hideDetails: 'auto' },
      VSelect: { variant: 'outlined', density: 'compact', hideDetails: 'auto' },
      VAutocomplete: { variant: 'outlined', density: 'compact', hideDetails: 'auto' },
      VTextarea: { variant: 'outlined', density: 'compact', hideDetails: 'auto' },
      VSwitch: { density: 'compact', hideDetails: 'auto', color: 'primary' },
      VCheckbox: { density: 'compact', hideDetails: 'auto', color: 'primary' },
      VSlider: { density: 'compact', hideDetails: 'auto', color: 'primary' },
    },
  })
}

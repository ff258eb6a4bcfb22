import { createPinia } from 'pinia'
import { createApp } from 'vue'
import 'vuetify/styles'

import App from './App.vue'
import { makeVuetify } from './theme'

const nonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content
createApp(App).use(createPinia()).use(makeVuetify('light', nonce)).mount('#app')

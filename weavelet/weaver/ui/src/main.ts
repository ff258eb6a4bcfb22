import './reset.css'

import { createPinia } from 'pinia'
import { createApp } from 'vue'
import 'vuetify/styles'

import App from './App.vue'
import { useConnection } from './stores/connection'
import './style.css'
import { makeVuetify } from './theme'

const nonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content
const pinia = createPinia()
createApp(App).use(pinia).use(makeVuetify('system', nonce)).mount('#app')
void useConnection(pinia).start()

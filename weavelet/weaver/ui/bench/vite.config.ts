import vue from '@vitejs/plugin-vue'
import vuetify from 'vite-plugin-vuetify'
import { defineConfig } from 'vite'

export default defineConfig({
  root: import.meta.dirname,
  base: './',
  plugins: [vue(), vuetify({ autoImport: true })],
  build: { target: 'es2022', emptyOutDir: true },
})

import vue from '@vitejs/plugin-vue'
import vuetify from 'vite-plugin-vuetify'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  // Relative, so that the page works behind a proxy's path.
  base: './',
  plugins: [vue(), vuetify({ autoImport: true })],
  build: {
    outDir: '../static',
    emptyOutDir: true,
    // Served with `immutable`: a changed file gets a new name.
    assetsDir: 'assets',
    modulePreload: { polyfill: false },
    target: 'es2022',
    // `npm run size` holds the whole page to what it may be.
    chunkSizeWarningLimit: 2000,
  },
  test: {
    environment: 'happy-dom',
    include: ['src/**/*.test.ts'],
    // A limit for what hangs, on machines with much else to do.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    setupFiles: ['src/testing/browser.ts'],
    server: { deps: { inline: ['vuetify'] } },
  },
})

import { onScopeDispose, reactive } from 'vue'

export interface Shortcut {
  key: string
  label: string
  run: () => void
}

/** Those that work now, the newest first. */
export const shortcuts = reactive<Shortcut[]>([])

/** A key that does something while the component that asks for it is shown. */
export function useShortcut(key: string, label: string, run: () => void): void {
  const shortcut = { key, label, run }
  shortcuts.unshift(shortcut)
  onScopeDispose(() => {
    const place = shortcuts.findIndex((one) => one.run === run && one.key === key)
    if (place >= 0) shortcuts.splice(place, 1)
  })
}

const TYPING = 'input, textarea, select, [contenteditable="true"], [role="dialog"], [role="listbox"], [role="menu"]'

/** Run the shortcut of a key press, unless it is meant for what has the focus. */
export function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
  if (event.target instanceof Element && event.target.closest(TYPING) !== null) return
  if (document.querySelector('[role="dialog"]') !== null) return
  const found = shortcuts.find((shortcut) => shortcut.key === event.key)
  if (found === undefined) return
  event.preventDefault()
  found.run()
}

import { onScopeDispose, shallowRef, watch, type ShallowRef } from 'vue'

/** What `source` says, at most once each `interval` milliseconds: for what is dear to draw. */
export function slowly<T>(source: () => T, interval: number): Readonly<ShallowRef<T>> {
  const shown = shallowRef(source()) as ShallowRef<T>
  let timer: ReturnType<typeof setTimeout> | undefined
  let last = -Infinity
  const take = () => {
    timer = undefined
    last = performance.now()
    shown.value = source()
  }
  watch(source, () => {
    if (timer !== undefined) return
    const wait = last + interval - performance.now()
    if (wait <= 0) take()
    else timer = setTimeout(take, wait)
  })
  onScopeDispose(() => {
    clearTimeout(timer)
  })
  return shown
}

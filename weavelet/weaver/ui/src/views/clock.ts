import { onScopeDispose, ref, type Ref } from 'vue'

/** Milliseconds on the page's own clock, to the second: what messages are stamped with. */
export function useClock(): Ref<number> {
  const now = ref(performance.now())
  const timer = setInterval(() => {
    now.value = performance.now()
  }, 1000)
  onScopeDispose(() => {
    clearInterval(timer)
  })
  return now
}

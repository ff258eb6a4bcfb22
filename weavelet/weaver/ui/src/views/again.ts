import { onBeforeUnmount } from 'vue'

const FIRST = 1000
const LONGEST = 15_000

export interface Again {
  /** It is to be asked once more, in a while. */
  need(): void
  /** It was asked anew, for a reason of its own. */
  reset(): void
}

/** Asks once more where an answer left something out; each time after a longer wait, for it may never come. */
export function useAgain(ask: () => void): Again {
  let wait = FIRST
  let timer: ReturnType<typeof setTimeout> | null = null

  function need(): void {
    if (timer !== null) return
    timer = setTimeout(() => {
      timer = null
      wait = Math.min(LONGEST, 2 * wait)
      ask()
    }, wait)
  }

  function reset(): void {
    if (timer !== null) clearTimeout(timer)
    timer = null
    wait = FIRST
  }

  onBeforeUnmount(reset)
  return { need, reset }
}

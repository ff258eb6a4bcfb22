/** Calls `run` soon; again only when that has happened. */
export type Schedule = (run: () => void) => void

/**
 * Collects what comes and hands it over in batches, so that a thousand messages cost one rendering.
 */
export class Batch<T> {
  private waiting: T[] = []
  private readonly schedule: Schedule
  private readonly take: (items: T[]) => void

  constructor(schedule: Schedule, take: (items: T[]) => void) {
    this.schedule = schedule
    this.take = take
  }

  add(item: T): void {
    this.waiting.push(item)
    if (this.waiting.length === 1) {
      this.schedule(() => {
        this.flush()
      })
    }
  }

  flush(): void {
    const items = this.waiting
    this.waiting = []
    if (items.length > 0) this.take(items)
  }
}

const HIDDEN = 1000

/** The next frame, at most one each `interval` milliseconds; once a second in a hidden page, which has no frames. */
export function frames(interval: number): Schedule {
  let last = -Infinity
  return (run) => {
    const due = () => {
      last = performance.now()
      run()
    }
    if (document.hidden) {
      setTimeout(due, HIDDEN)
      return
    }
    const wait = last + interval - performance.now()
    let done = false
    const once = () => {
      if (done) return
      done = true
      document.removeEventListener('visibilitychange', once)
      due()
    }
    // A page that is hidden in between gets no frame.
    document.addEventListener('visibilitychange', once)
    setTimeout(() => requestAnimationFrame(once), Math.max(0, wait))
  }
}

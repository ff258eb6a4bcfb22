import type { World } from './link'

const TICK = 1000
const PATIENCE = 5
const LONGEST_PATIENCE = 40
/** Ticks without a loss after which a connection has proved itself. */
const CALM = 60

/**
 * Notices that a connection has gone silent. It counts ticks, not time: a page that was itself held
 * up, or slept, first takes in what waits for it. A large message over a slow way is silence too;
 * therefore patience grows with each loss.
 */
export class Pulse {
  private silent = 0
  private calm = 0
  private patience = PATIENCE
  private cancel: () => void = () => undefined
  private readonly later: World['later']
  private readonly lost: () => void

  constructor(later: World['later'], lost: () => void) {
    this.later = later
    this.lost = lost
  }

  start(): void {
    this.stop()
    this.silent = 0
    this.calm = 0
    this.wait()
  }

  stop(): void {
    this.cancel()
  }

  /** Something was heard. */
  beat(): void {
    this.silent = 0
  }

  private wait(): void {
    this.cancel = this.later(() => {
      this.tick()
    }, TICK)
  }

  private tick(): void {
    this.silent += 1
    this.calm += 1
    if (this.calm >= CALM) this.patience = PATIENCE
    if (this.silent > this.patience) {
      this.patience = Math.min(LONGEST_PATIENCE, 2 * this.patience)
      this.lost()
      return
    }
    this.wait()
  }
}

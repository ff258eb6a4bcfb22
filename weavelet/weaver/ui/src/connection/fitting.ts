import { writeJson } from '../json/exact'
import { MAX_MESSAGE_BYTES } from '../protocol'

/** Names in groups that fit into a message each, and those that fit into none. */
export interface Groups {
  readonly groups: readonly string[][]
  readonly left: readonly string[]
}

export function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length
}

/** Share names out over messages that have `taken` bytes without them. */
export function grouped(names: readonly string[], taken: number): Groups {
  const room = MAX_MESSAGE_BYTES - taken
  const groups: string[][] = []
  const left: string[] = []
  let used = Infinity
  for (const name of names) {
    const size = bytesOf(writeJson(name)) + 1
    if (size > room) {
      left.push(name)
      continue
    }
    if (used + size > room) {
      groups.push([])
      used = 0
    }
    groups[groups.length - 1]?.push(name)
    used += size
  }
  return { groups, left }
}

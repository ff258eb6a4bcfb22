import { cleaned } from '../text/foreign'

const NAMED = 8

/** To whom a command goes, as it stands after "for": no targets are all of them. */
export function forWhom(targets: readonly string[], all: readonly string[]): string {
  if (targets.length === 0) return all.length === 1 ? 'the one replica' : `all ${all.length} replicas`
  const named = targets.slice(0, NAMED).map((name) => cleaned(name).slice(0, 60))
  const rest = targets.length > NAMED ? ` and ${targets.length - NAMED} more` : ''
  return `${targets.length} of ${all.length} replicas: ${named.join(', ')}${rest}`
}

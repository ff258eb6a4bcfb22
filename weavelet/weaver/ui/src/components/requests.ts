import type { Action, Json, UpdateConfig } from '../protocol'

/** What an `update_config` says beside run and job. Numbers may be `Exact`: send it with `writeJson`. */
export type SetRequest = Required<Pick<UpdateConfig, 'values' | 'expect' | 'dry_run' | 'at_step' | 'replicas'>>

/** What an `action` says beside run and job. Numbers may be `Exact`: send it with `writeJson`. */
export type ActRequest = Required<Pick<Action, 'name' | 'arguments' | 'replicas'>>

/** Why the weaver did not accept a command. */
export interface Refusal {
  code: string
  text: string
}

/** Data as a message carries it. */
export function asJson(value: unknown): Json {
  // `Exact` is all that it may hold beside plain data, and `writeJson` writes that as a number.
  return value as Json
}

/** Which of the names a refusal is about: `lr: expected …`, `plan.warmup: expected …`; null if none. */
export function refusedName(refusal: Refusal, names: readonly string[]): string | null {
  const fits = names.filter((name) => {
    const next = refusal.text.slice(name.length, name.length + 1)
    return refusal.text.startsWith(name) && (next === ':' || next === '.' || next === '[')
  })
  const quoted = fits.length > 0 ? fits : names.filter((name) => refusal.text.includes(`'${name}'`))
  return quoted.sort((one, other) => other.length - one.length)[0] ?? null
}

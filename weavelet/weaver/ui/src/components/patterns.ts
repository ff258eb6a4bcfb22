/** Ways in which a pattern may be tried on a text: some more would hold up the page. */
const MOST_TRIES = 1e8
const ESCAPED = /\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P?<\w+>|<?[:=!])/gs
const REPEATED_GROUP = /\)[*+{]/
const UNBOUNDED = /[*+]|\{\d*,\d*\}/g

/** Whether matching may take longer than anybody waits, as the weaver sees it; the trainer matches then. */
export function isSlow(pattern: string, text: string): boolean {
  const bare = pattern.replace(ESCAPED, 'x')
  const repeats = bare.match(UNBOUNDED)?.length ?? 0
  // A repeated group that holds a choice or a repeat can be split up in exponentially many ways.
  if (REPEATED_GROUP.test(bare) && (repeats > 1 || /[|?]/.test(bare))) return true
  return (repeats + 1) * Math.log(text.length + 1) > Math.log(MOST_TRIES)
}

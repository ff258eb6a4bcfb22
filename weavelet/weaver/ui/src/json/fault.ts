const TOKEN =
  /\s*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.+-])|-?Infinity\b|(?:NaN|true|false|null)\b))/y

type Wanted = 'value' | 'value or ]' | 'name' | 'name or }' | ':' | ', or ]' | ', or }' | 'end'

/** Where text stops being JSON and what should stand there; null if it is JSON throughout. */
export function jsonFault(text: string): { position: number; wanted: string } | null {
  const open: string[] = []
  let wanted: Wanted = 'value'
  let position = 0
  for (;;) {
    TOKEN.lastIndex = position
    const token = TOKEN.exec(text)
    const next: Wanted | null = token ? after(token, wanted, open) : null
    if (next === null || token === null) {
      const space = /\s*/y
      space.lastIndex = position
      space.exec(text)
      position = space.lastIndex
      return position >= text.length && wanted === 'end' ? null : { position, wanted: WORDS[wanted] }
    }
    wanted = next
    position = TOKEN.lastIndex
  }
}

const WORDS: Record<Wanted, string> = {
  value: 'a value',
  'value or ]': 'a value or ]',
  name: 'a name in double quotes',
  'name or }': 'a name in double quotes or }',
  ':': ':',
  ', or ]': ', or ]',
  ', or }': ', or }',
  end: 'nothing more',
}

function after(token: RegExpExecArray, wanted: Wanted, open: string[]): Wanted | null {
  const [, sign, text] = token
  if (sign === undefined) {
    if (wanted.startsWith('value')) return closed(open)
    return text !== undefined && wanted.startsWith('name') ? ':' : null
  }
  if (sign === '{' || sign === '[') {
    if (!wanted.startsWith('value')) return null
    open.push(sign)
    return sign === '{' ? 'name or }' : 'value or ]'
  }
  if (sign === ':') return wanted === ':' ? 'value' : null
  if (sign === ',') return wanted === ', or ]' ? 'value' : wanted === ', or }' ? 'name' : null
  if (!wanted.endsWith(sign)) return null
  open.pop()
  return closed(open)
}

function closed(open: readonly string[]): Wanted {
  const inside = open.at(-1)
  return inside === undefined ? 'end' : inside === '{' ? ', or }' : ', or ]'
}

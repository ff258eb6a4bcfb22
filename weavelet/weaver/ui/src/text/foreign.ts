/** Text from outside without what reorders or hides letters, which would let one name pass for another. */
export function cleaned(text: string): string {
  return text
    .replace(/\r\n|[\n\r\u2028\u2029]/g, '⏎')
    .replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/g, '\ufffd')
}

/** Cleaned, and of at most so many characters. */
export function shortened(text: string, most: number): string {
  return cleaned(text.length > most ? `${text.slice(0, most).replace(/[\ud800-\udbff]$/, '')}…` : text)
}

import type { ControlView, Json } from '../protocol'
import { type Draft, type Field, type Reading, draftOf, fieldFor, readDraft } from './fields'
import { showBare } from './wording'

/** A control in the form: as it is, and as it is edited. */
export interface Edit {
  readonly control: ControlView
  readonly field: Field
  readonly draft: Draft
  readonly edited: boolean
  /** What was read out of the draft, null where nothing was edited. */
  readonly reading: Reading | null
  /** Where replicas hold different values: each and its value. */
  readonly apart: readonly (readonly [string, Json])[]
}

/** A control and what was typed for it, undefined where nothing was. */
export function editOf(control: ControlView, draft: Draft | undefined, apart: Edit['apart']): Edit {
  const field = fieldFor(control.schema)
  if (draft === undefined) {
    return { control, field, draft: draftOf(control.value, field), edited: false, reading: null, apart }
  }
  return { control, field, draft, edited: true, reading: readDraft(control.name, control.schema, field, draft), apart }
}

/** Whether what was typed is no value of this control. */
export function isFaulty(edit: Edit): boolean {
  return edit.reading?.problem !== undefined
}

/** The value that is, in words. */
export function currentText({ control, apart }: Edit): string {
  if (apart.length > 0) return 'differs'
  return control.value === undefined ? 'not known' : showBare(control.value).slice(0, 2000)
}

/** The value that shall be, in words. */
export function newText({ reading }: Edit): string {
  return reading === null || reading.problem !== undefined ? '?' : showBare(reading.value).slice(0, 200)
}

/** Whether a search for these words, in lower case, finds a control. */
export function isFound({ control }: Edit, words: readonly string[]): boolean {
  const text = `${control.name} ${control.doc ?? ''} ${control.unit ?? ''}`.toLowerCase()
  return words.every((word) => text.includes(word))
}

/** A text of any length, short enough for a paragraph. */
export function cut(text: string): string {
  return text.length > 500 ? `${text.slice(0, 500)}…` : text
}

import type { EntryUpdate, EntryView, OutcomeView } from '../protocol'

/** An entry for tests and the gallery: a Set of lr, applied, unless told otherwise. */
export function entryUpdate(
  update: Partial<Omit<EntryUpdate, 'entry'>> & { entry?: Partial<EntryView> } = {},
): EntryUpdate {
  const { entry, ...rest } = update
  return {
    type: 'entry',
    id: '',
    state: 'applied',
    settled: true,
    outcomes: [outcome()],
    ...rest,
    entry: {
      id: 'e-1',
      sequence: 1,
      run: 'train',
      job: 'job-1',
      kind: 'set',
      author: 'operator@laptop',
      time: 1_760_000_000,
      body: { values: { lr: 0.01 }, expect: {}, dry_run: false },
      targets: [],
      addressed: ['rank-0'],
      at_step: null,
      deadline: 60,
      ...entry,
    },
  }
}

/** An outcome for tests and the gallery: lr went from 0.1 to 0.01 at step 812 of rank-0. */
export function outcome(fields: Partial<OutcomeView> = {}): OutcomeView {
  return {
    replica: 'rank-0',
    outcome: 'applied',
    step: 812,
    changes: [{ name: 'lr', old: 0.1, new: 0.01 }],
    reason: null,
    result: null,
    traceback: null,
    adopted: false,
    incarnation: 'ab12',
    config_hash: 'cd34',
    ...fields,
  }
}

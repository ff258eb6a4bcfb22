import { Exact, parseJson } from '../json/exact'
import type { ControlView, EntryUpdate, JobView, ReplicaView, ServerMessage } from '../protocol'

const LARGE = /[:,[]-?\d{16,}[,\]}]/

/**
 * A message of the weaver. In what a log or an export repeats, numbers keep their digits (`Exact`);
 * elsewhere only a control's value does, where a double would lose some.
 */
export function readMessage(text: string): ServerMessage {
  const message = JSON.parse(text) as ServerMessage
  switch (message.type) {
    case 'entry':
      return plainEntry(parseJson(text) as EntryUpdate)
    case 'log': {
      const exact = parseJson(text) as typeof message
      return { ...exact, entries: exact.entries.map(plainEntry) }
    }
    case 'snapshot':
      if (!LARGE.test(text)) return message
      return { ...message, jobs: withControls(message.jobs, (parseJson(text) as typeof message).jobs) }
    case 'status_update': {
      if (!LARGE.test(text)) return message
      const exact = parseJson(text) as typeof message
      return { ...message, replicas: withValues(message.replicas, exact.replicas) }
    }
    default:
      return message
  }
}

function withControls(jobs: JobView[], exact: JobView[]): JobView[] {
  return jobs.map((job, i) => ({
    ...job,
    replicas: withValues(job.replicas, exact[i]?.replicas ?? []),
  }))
}

function withValues(replicas: ReplicaView[], exact: ReplicaView[]): ReplicaView[] {
  return replicas.map((replica, i) => ({
    ...replica,
    controls: replica.controls.map((control, j): ControlView => {
      const value = exact[i]?.controls[j]?.value
      return value === undefined ? control : { ...control, value }
    }),
  }))
}

function plainEntry(update: EntryUpdate): EntryUpdate {
  const { entry } = update
  return {
    ...update,
    entry: {
      ...entry,
      sequence: plain(entry.sequence),
      time: plain(entry.time),
      at_step: orNull(entry.at_step),
      deadline: orNull(entry.deadline),
    },
    outcomes: update.outcomes.map((outcome) => ({ ...outcome, step: orNull(outcome.step) })),
  }
}

function plain(value: unknown): number {
  return value instanceof Exact ? Number(value.text) : Number(value)
}

function orNull(value: unknown): number | null {
  return value === null || value === undefined ? null : plain(value)
}

import {
  mdiAlertCircleOutline,
  mdiAlertOctagon,
  mdiCheckCircleOutline,
  mdiHelpCircleOutline,
  mdiPauseCircleOutline,
  mdiPlayCircleOutline,
  mdiProgressClock,
  mdiProgressWrench,
  mdiSourceFork,
  mdiStopCircleOutline,
} from '@mdi/js'

/** How a replica's state looks, what it means and what to do about it. */
export interface Look {
  icon: string
  colour: 'success' | 'info' | 'warning' | 'error' | 'secondary'
  meaning: string
}

const LOOKS: Record<string, Look> = {
  starting: {
    icon: mdiProgressClock,
    colour: 'info',
    meaning: 'It has a session but has not polled yet. Commands wait for its first poll.',
  },
  running: { icon: mdiPlayCircleOutline, colour: 'success', meaning: 'It trains and takes commands.' },
  paused: {
    icon: mdiPauseCircleOutline,
    colour: 'warning',
    meaning: 'It holds at its safe point until it is resumed, stopped, or its lease ends.',
  },
  'in-section': {
    icon: mdiProgressWrench,
    colour: 'info',
    meaning: 'It is in a declared long phase. Commands wait until it polls again.',
  },
  stalled: {
    icon: mdiAlertOctagon,
    colour: 'error',
    meaning: 'It lives but makes no progress. Look for a deadlock, a slow disk or a lost peer.',
  },
  stopped: {
    icon: mdiStopCircleOutline,
    colour: 'warning',
    meaning: 'The operating system has stopped its process (SIGSTOP). SIGCONT lets it go on.',
  },
  exited: { icon: mdiCheckCircleOutline, colour: 'secondary', meaning: 'Its session ended as it should.' },
  crashed: {
    icon: mdiAlertCircleOutline,
    colour: 'error',
    meaning: 'Its process ended without closing its session. See the output of the process.',
  },
  conflict: {
    icon: mdiSourceFork,
    colour: 'error',
    meaning: 'A second process claims this name and gets no commands. End it or give it another name.',
  },
  unknown: {
    icon: mdiHelpCircleOutline,
    colour: 'warning',
    meaning: 'Nothing was heard of it for 5 s. It may train on; its host, network or sidecar may be gone.',
  },
}

const OTHER: Look = { icon: mdiHelpCircleOutline, colour: 'secondary', meaning: '' }

export function lookOf(state: string): Look {
  return (Object.hasOwn(LOOKS, state) ? LOOKS[state] : undefined) ?? OTHER
}

/** States in the order of their urgency. */
export const STATES = [
  'crashed',
  'conflict',
  'stalled',
  'unknown',
  'stopped',
  'paused',
  'in-section',
  'starting',
  'running',
  'exited',
] as const

export function byUrgency(a: string, b: string): number {
  const place = (state: string) => (STATES as readonly string[]).indexOf(state)
  return place(a) - place(b)
}

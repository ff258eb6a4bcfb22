/** How long ago: `0.4 s`, `12 s`, `3 min`, `2 h`, `5 d`. */
export function ago(seconds: number): string {
  if (seconds < 1) return 'now'
  if (seconds < 120) return `${Math.floor(seconds)} s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** Local time of day to the second, after the date where that is another day: `2030-01-02 14:51:22`. */
export function clock(at: number, now = new Date()): string {
  const moment = new Date(at * 1000)
  if (Number.isNaN(moment.getTime())) return ''
  const time = moment.toLocaleTimeString('en-GB')
  if (moment.toDateString() === now.toDateString()) return time
  const pad = (part: number) => String(part).padStart(2, '0')
  return `${moment.getFullYear()}-${pad(moment.getMonth() + 1)}-${pad(moment.getDate())} ${time}`
}

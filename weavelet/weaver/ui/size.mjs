// Fails when the built page is larger than it may be, all its files gzipped.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const LIMIT = 350 * 1000
const folder = fileURLToPath(new URL('../static', import.meta.url))
let sum = 0
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue
  const path = join(entry.parentPath, entry.name)
  const size = gzipSync(readFileSync(path), { level: 9 }).length
  console.log(`${String(size).padStart(8)}  ${path.slice(folder.length + 1)}`)
  sum += size
}
console.log(`${String(sum).padStart(8)}  of at most ${LIMIT} bytes gzipped`)
if (sum > LIMIT) process.exit(1)

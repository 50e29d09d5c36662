
// What the page says of what happens, in words.

const PATIENCE = 5 // seconds after which it says what is wrong

function sizeInWords (bytes) {
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (bytes < 999.5 || unit === 'GB') return `${unit === 'B' || bytes >= 9.95 ? bytes.toFixed(0) : bytes.toFixed(1)} ${unit}`
    bytes /= 1000
  }
}

function clock (seconds) {
  const whole = Math.max(0, Math.floor(seconds))
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60]
  const two = number => String(number).padStart(2, '0')
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`
}

function hostsOf (trackers) {
  return trackers.map(tracker => new URL(tracker).host).join(', ')
}

// One sentence or two, and whether a command would help. `now` is what is known; its times are in seconds.
function describe (now) {
  if (now.broken) return [now.broken, false]
  if (now.done) return ['All of it is here, and every piece is what it should be.', false]
  if (now.peers && now.idle >= PATIENCE) return ['The others who are here have no more of it either, or do not answer.', true]
  if (now.peers && !now.downloaded) return ['Found somebody. Asking for it…', false]
  if (now.peers && now.streams) return ['Loading. It can be played meanwhile.', false]
  if (now.peers) return ['Loading. This browser plays it when all of it is here.', false]
  if (now.offline) return ['This device is offline.', false]
  if (!now.connected && now.waited >= PATIENCE) {
    return [`No tracker can be reached (${now.hosts}), and without one nobody can be found. Trying again…`, false]
  }
  if (now.downloaded && now.waited >= PATIENCE) return ['Everybody who had it has left.', true]
  if (now.waited >= PATIENCE) return ['Nobody who has it is there right now.', true]
  return ['Looking for somebody who has it…', false]
}


// What the page says of its state, in the words of `words.toml`.

const PATIENCE = 5 // seconds after which it says what is wrong

class Fault extends Error {} // that is the memo's or the link's own; its message is for people

function fill (sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (_, name) => values[name])
}

// The forms are for 1, 2 and so on, the last one for all that is more.
function count (forms, number) {
  return fill(forms[Math.min(number, forms.length) - 1], { count: number })
}

function sizeInWords (bytes) {
  let unit = 0
  for (; bytes >= 999.5 && unit < words.sizes.length - 1; unit++) bytes /= 1000
  const number = bytes.toFixed(unit === 0 || bytes >= 9.95 ? 0 : 1).replace('.', words.decimal)
  return fill(words.sizes[unit], { number })
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
  if (now.done) return [words.done, false]
  if (now.peers && now.idle >= PATIENCE) return [words.idle, true]
  if (now.peers && !now.downloaded) return [words.asking, false]
  if (now.peers && now.streams) return [words.streaming, false]
  if (now.peers) return [words.waiting, false]
  if (now.offline) return [words.offline, false]
  if (!now.connected && now.waited >= PATIENCE) return [fill(words.trackerless, { hosts: now.hosts }), false]
  if (now.downloaded && now.waited >= PATIENCE) return [words.left, true]
  if (now.waited >= PATIENCE) return [words.alone, true]
  return [words.looking, false]
}

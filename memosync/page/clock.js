
// A file's clock may be wrong: it has a hole where a recorder was paused, or begins at 27 hours. Opus says in the first
// byte of a packet how many samples it gives (RFC 6716, 3.1); the player is given the same packets, timed by these, one
// in a block: it takes no more. What is no sound is left out. Elements are those of Matroska (RFC 9559).

const [EBML, SEGMENT, TRACKS, CLUSTER] = [0x1a45dfa3, 0x18538067, 0x1654ae6b, 0x1f43b675]
const [SIMPLE, GROUP, BLOCK] = [0xa3, 0xa0, 0xa1]
const LARGEST = 1 << 20 // bytes of an element that is looked into
const FURTHEST = 30000 // ms from the beginning of a cluster to a block
const OPEN = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff] // the size of what ends where the next one begins
const INFO = [0x15, 0x49, 0xa9, 0x66, 0x92, 0x2a, 0xd7, 0xb1, 0x83, 0x0f, 0x42, 0x40, 0x44, 0x89, 0x88] // ms; Duration

class Clock {
  #track
  #duration // in ms
  #samples // that came before, at 48 kHz
  #left = new Uint8Array() // an element that is not all here
  #unwanted = 0 // bytes to come that are left out
  #head = null // the EBML header
  #isGiven = false // what stands before the sound
  #begin = null // of the cluster that is written, in ms
  #parts = []
  bytes = 0 // of the file that it has come to
  clusters = [] // that it was given: seconds of sound before one, and bytes

  // `seconds` of sound stand before the first cluster that it will be given.
  constructor ({ track, duration }, seconds) {
    this.#track = track
    this.#duration = new DataView(new ArrayBuffer(8))
    this.#duration.setFloat64(0, duration * 1000)
    this.#samples = Math.round(seconds * 48000)
  }

  get seconds () {
    return this.#samples / 48000
  }

  // Have the next block begin a cluster.
  cut () {
    this.#begin = null
  }

  // Give what becomes of the next bytes of the file; what is not a whole element waits for the rest.
  mend (data) {
    const passed = Math.min(this.#unwanted, data.length)
    this.#unwanted -= passed
    this.bytes += passed
    data = joined([this.#left, data.subarray(passed)])
    this.#parts = []
    let at = 0
    while (at < data.length) {
      const next = this.#pass(data, at)
      if (next === null) break
      at = next
    }
    this.#unwanted += Math.max(0, at - data.length)
    this.#left = data.slice(at)
    this.bytes += Math.min(at, data.length)
    return joined(this.#parts)
  }

  // Take an element and give the place behind it; null when it has to wait.
  #pass (data, at) {
    const found = elementAt(data, at)
    if (!found) return data.length - at < 12 ? null : this.#search(data, at)
    const { name, body, size } = found
    if (name === CLUSTER) {
      this.#begin = null
      this.clusters.push([this.seconds, this.bytes + at])
    }
    if (name === CLUSTER || name === SEGMENT) return body
    if (size === Infinity) return this.#search(data, at)
    const end = body + size
    if (![EBML, TRACKS, SIMPLE, GROUP].includes(name)) return end
    if (size > LARGEST) return this.#search(data, at)
    if (end > data.length) return null
    if (name === EBML) this.#head ??= data.slice(at, end)
    else if (name === TRACKS) this.#introduce(data.slice(at, end))
    else this.#take(name === SIMPLE ? data.subarray(body, end) : blockIn(data.subarray(body, end)))
    return end
  }

  // Behind damage the next cluster is what makes sense again.
  #search (data, at) {
    for (let i = at + 1; i < data.length - 3; i++) {
      if (data[i] === 0x1f && data[i + 1] === 0x43 && data[i + 2] === 0xb6 && data[i + 3] === 0x75) return i
    }
    return Math.max(at + 1, data.length - 3)
  }

  #introduce (tracks) {
    if (this.#isGiven || !this.#head) return
    this.#isGiven = true
    const duration = new Uint8Array(this.#duration.buffer)
    this.#parts.push(this.#head, [0x18, 0x53, 0x80, 0x67, ...OPEN], INFO, duration, tracks)
  }

  #take (block) {
    if (!block || block.length < 5 || block[0] !== (0x80 | this.#track)) return
    for (const frame of framesOf(block)) {
      const time = Math.round(this.#samples / 48)
      if (this.#begin === null || time - this.#begin > FURTHEST) {
        this.#begin = time
        this.#parts.push([0x1f, 0x43, 0xb6, 0x75, ...OPEN, 0xe7, 0x84, ...bytesOf(time, 4)])
      }
      const head = [0x80 | this.#track, ...bytesOf(time - this.#begin, 2), 0x80]
      this.#parts.push([0xa3, ...bytesOf(0x10000000 + head.length + frame.length, 4), ...head], frame)
      this.#samples += samplesOf(frame)
    }
  }
}

function bytesOf (number, length) {
  return Array.from({ length }, (_, i) => number >>> 8 * (length - 1 - i) & 0xff)
}

function joined (parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

// A number of variable size (RFC 8794, 4); undefined where there is none.
function numberAt (data, at, isName) {
  const width = Math.clz32(data[at] ?? 0) - 23
  if (width > (isName ? 4 : 8) || at + width > data.length) return undefined
  let value = isName ? data[at] : data[at] & (1 << 8 - width) - 1
  for (let i = 1; i < width; i++) value = value * 256 + data[at + i]
  return { value, width }
}

function elementAt (data, at) {
  const name = numberAt(data, at, true)
  const size = name && numberAt(data, at + name.width, false)
  if (!size) return undefined
  const isOpen = size.value === 2 ** (7 * size.width) - 1
  return { name: name.value, body: at + name.width + size.width, size: isOpen ? Infinity : size.value }
}

function blockIn (group) {
  for (let at = 0; at < group.length;) {
    const found = elementAt(group, at)
    if (!found) return undefined
    if (found.name === BLOCK) return group.subarray(found.body, found.body + found.size)
    at = found.body + found.size
  }
  return undefined
}

// The packets of a block, which may be laced (RFC 9559, 10.3); none when they do not fit.
function framesOf (block) {
  const lacing = block[3] & 6
  if (!lacing) return [block.subarray(4)]
  const count = block[4] + 1
  const told = lacing === 4 ? 0 : block[4]
  const sizes = []
  let at = 5
  for (let i = 0; i < told; i++) {
    if (lacing === 2) {
      let size = 0
      while (block[at] === 255) size += block[at++]
      sizes.push(size + (block[at++] ?? NaN))
    } else {
      const { value, width } = numberAt(block, at, false) ?? { value: NaN, width: 1 }
      sizes.push(i ? sizes[i - 1] + value - (2 ** (7 * width - 1) - 1) : value)
      at += width
    }
  }
  if (lacing === 4) sizes.push(...Array.from({ length: count }, () => (block.length - at) / count))
  else sizes.push(block.length - at - sizes.reduce((sum, size) => sum + size, 0))
  if (!sizes.every(size => size > 0 && Number.isInteger(size))) return []
  return sizes.map(size => block.subarray(at, at += size))
}

function samplesOf (packet) {
  const [toc, more] = packet
  const config = toc >> 3
  let samples = 120 << (config & 3)
  if (config < 12) samples = [480, 960, 1920, 2880][config & 3]
  else if (config < 16) samples = 480 << (config & 1)
  samples *= [1, 2, 2, more & 63][toc & 3]
  return samples <= 5760 ? samples : 0
}

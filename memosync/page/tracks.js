
// What a memo's file says of itself before the sound: how long it is, its words, and where in it is what (RFC 9559).

const LONGEST_HEAD = 1 << 24 // bytes
const LONGEST = 1e7 // seconds: what says that it is longer knows nothing

class Head {
  bytes = new Uint8Array() // to the first cluster
  codec = ''
  duration = 0 // seconds
  track = 0
  tags = {}
  clusters = [] // seconds, and bytes from the beginning
  begin = 0 // seconds: what the file's clock says where the sound begins
  #segment = 0
  #at = 0 // what was read
  #unit = 1000000 // ns

  // Of a file that gives its bytes as WebTorrent's do.
  static async of (file) {
    const source = file[Symbol.asyncIterator]({ start: 0, end: file.length - 1 })
    let data = new Uint8Array()
    const head = new Head()
    for await (const part of source) {
      data = joined([data, part])
      if (head.#reads(data)) {
        head.clusters = head.clusters.filter(([time, place]) => time < LONGEST && place < file.length)
        return head
      }
      if (data.length > LONGEST_HEAD) break
    }
    throw new Fault(words.foreign)
  }

  // Tell whether the first cluster was found.
  #reads (data) {
    for (;;) {
      const found = elementAt(data, this.#at)
      if (!found) return false
      const { name, body, size } = found
      if (this.#at === 0 && name !== EBML) throw new Fault(words.foreign)
      if (name === CLUSTER) {
        this.bytes = data.slice(0, this.#at)
        return true
      }
      if (name === SEGMENT) this.#segment = this.#at = body
      else {
        if (body + size > data.length) return false
        this.#take(name, data.subarray(body, body + size))
        this.#at = body + size
      }
    }
  }

  #take (name, data) {
    if (name === 0x1549a966) { // Info
      const [[unit], [duration], [title]] = [0x2ad7b1, 0x4489, 0x7ba9].map(inner => all(data, inner))
      if (title) this.tags.TITLE = utf8(title)
      if (unit) this.#unit = unsigned(unit)
      const seconds = duration ? real(duration) * this.#unit / 1e9 : 0
      this.duration = seconds > 0 && seconds < LONGEST ? seconds : 0
    } else if (name === TRACKS) {
      const entry = all(data, 0xae).find(track => unsigned(all(track, 0x83)[0]) === 2) // of sound
      if (!entry) throw new Fault(words.foreign)
      this.track = unsigned(all(entry, 0xd7)[0])
      this.codec = utf8(all(entry, 0x86)[0] ?? []).replace(/^A_/, '').toLowerCase()
    } else if (name === 0x1254c367) { // Tags
      for (const tag of all(data, 0x7373).flatMap(tag => all(tag, 0x67c8))) {
        this.tags[utf8(all(tag, 0x45a3)[0] ?? [])] ??= utf8(all(tag, 0x4487)[0] ?? [])
      }
    } else if (name === 0x1c53bb6b) { // Cues
      for (const point of all(data, 0xbb)) {
        const place = all(point, 0xb7).flatMap(found => all(found, 0xf1))[0]
        const cluster = [unsigned(all(point, 0xb3)[0]) * this.#unit / 1e9, this.#segment + unsigned(place)]
        if (cluster[1] > (this.clusters.at(-1)?.[1] ?? 0)) this.clusters.push(cluster)
      }
      this.begin = this.clusters[0]?.[0] ?? 0
    }
  }
}

function all (data, name) {
  const found = []
  for (let at = 0; at < data.length;) {
    const next = elementAt(data, at)
    if (!next) break
    if (next.name === name) found.push(data.subarray(next.body, next.body + next.size))
    at = next.body + next.size
  }
  return found
}

function unsigned (data = []) {
  return data.reduce((sum, byte) => sum * 256 + byte, 0)
}

function real (data) {
  const view = new DataView(data.buffer, data.byteOffset, data.length)
  return data.length === 8 ? view.getFloat64(0) : data.length === 4 ? view.getFloat32(0) : 0
}

function utf8 (data) {
  return new TextDecoder().decode(new Uint8Array(data)).replace(/\0.*/, '')
}

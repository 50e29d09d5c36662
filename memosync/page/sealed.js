
// A private memo's file, seen as what is in it: Cobblestone-128 (c2sp.org/chunked-encryption).

const CHUNK = 16384 // bytes
const BOX = CHUNK + 16
const HEAD = 56

class Sealed {
  #file
  #key
  #opener

  constructor (file, key) {
    this.#file = file
    this.#key = key
    const body = file.length - HEAD
    if (body < 0 || body % BOX < 16) throw new Fault(words.altered)
    this.length = body - 16 * Math.ceil(body / BOX)
  }

  // As WebTorrent's own files: from byte `start` to `end`, both included.
  [Symbol.asyncIterator] ({ start, end }) {
    const from = sealedAt(start)
    const until = Math.min(this.#file.length, sealedAt(end + 1) + BOX) // the last chunk may be empty
    const source = this.#file[Symbol.asyncIterator]({ start: from, end: until - 1 })
    const opened = this.#open(source, start, end + 1, until - from)
    return { next: () => opened.next(), return: () => source.return(), [Symbol.asyncIterator] () { return this } }
  }

  async * #open (source, start, end, missing) {
    const open = await (this.#opener ??= this.#unlock())
    let number = Math.floor(start / CHUNK)
    let rest = []
    for await (const data of source) {
      rest = joined([rest, data])
      missing -= data.length
      const boxes = []
      for (let at = 0; rest.length - at >= (missing ? BOX : 1); at += BOX) boxes.push(rest.subarray(at, at + BOX))
      const at = number * CHUNK
      yield joined(await open(boxes, number)).subarray(Math.max(0, start - at), end - at)
      rest = rest.slice(boxes.length * BOX)
      number += boxes.length
    }
  }

  async #unlock () {
    const ascii = text => new TextEncoder().encode(text)
    const { subtle } = crypto
    const [{ value: head }, mac] = await Promise.all([
      this.#file[Symbol.asyncIterator]({ start: 0, end: HEAD - 1 }).next(),
      subtle.importKey('raw', this.#key, { name: 'HMAC', hash: 'SHA-512' }, false, ['sign'])
    ])
    if (!head) return new Promise(() => {})
    const name = ascii('c2sp.org/chunked-encryption@v1+AEAD_AES_128_GCM\0')
    const info = joined([name, head.subarray(0, 24), ascii('memosync memo v1\x01')])
    const made = new Uint8Array(await subtle.sign('HMAC', mac, info)) // HKDF-Expand, one block
    if (head.subarray(24).some((byte, i) => byte !== made[28 + i])) throw new Fault(words.wrong)
    const key = await subtle.importKey('raw', made.subarray(0, 16), 'AES-GCM', false, ['decrypt'])
    const open = async (box, number) => {
      const iv = made.slice(16, 28)
      const tail = new DataView(iv.buffer, 8)
      tail.setUint32(0, tail.getUint32(0) ^ number)
      const opened = await subtle.decrypt({ name: 'AES-GCM', iv }, key, box).catch(() => { throw new Fault(words.altered) })
      return new Uint8Array(opened)
    }
    return (boxes, first) => Promise.all(boxes.map((box, i) => open(box, first + i)))
  }
}

// Where the chunk with this byte begins.
function sealedAt (byte) {
  return HEAD + Math.floor(byte / CHUNK) * BOX
}

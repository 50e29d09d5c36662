
// What of a memo is here, from its beginning on: how loud it is, how long, and where in the file its clusters begin. It
// asks nobody for more.

const SPAN = 10 // seconds that are decoded at once
const CRUMB = 4096 // bytes that are looked at in between: few bytes may be long to hear
const [LEVELS, FLOOR] = [10, 60] // a second; dB under full scale that are drawn as nothing

class Here {
  #torrent
  #pieces

  constructor (torrent, pieces) {
    this.#torrent = torrent
    this.#pieces = pieces
    this.length = torrent.length
  }

  async * [Symbol.asyncIterator] ({ start, end }) {
    const { pieceLength } = this.#torrent
    while (start <= end) {
      const number = Math.floor(start / pieceLength)
      while (!this.#torrent.bitfield.get(number)) await new Promise(resolve => this.#torrent.once('verified', resolve))
      const begin = number * pieceLength
      const piece = this.#pieces[number].slice(start - begin, end + 1 - begin)
      yield new Uint8Array(await piece.arrayBuffer())
      start += piece.size
    }
  }
}

// Listen to what comes, Opus alone; `tell` is called with the levels of all of it whenever there is more.
async function listen (head, file, tell) {
  const clock = new Clock(head, 0)
  const intro = clock.mend(head.bytes)
  const levels = []
  let parts = []
  let from = 0
  let canDecode = Boolean(globalThis.OfflineAudioContext)
  const take = async () => {
    const data = joined([intro, ...parts])
    parts = []
    if (canDecode && clock.seconds > from) await decode(data, levels, from).catch(() => { canDecode = false })
    from = clock.seconds
    clock.cut()
    tell(levels, clock, false)
  }
  for await (const part of file[Symbol.asyncIterator]({ start: head.bytes.length, end: file.length - 1 })) {
    for (let at = 0; at < part.length; at += CRUMB) {
      parts.push(clock.mend(part.subarray(at, at + CRUMB)))
      if (clock.seconds - from >= SPAN) await take()
    }
  }
  await take()
  tell(levels, clock, true)
}

async function decode (data, levels, from) {
  const sound = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(data.buffer)
  const samples = sound.getChannelData(0)
  const step = sound.sampleRate / LEVELS
  for (let at = 0; at < samples.length; at += step) {
    let peak = 0
    for (let i = Math.ceil(at); i < Math.min(at + step, samples.length); i++) peak = Math.max(peak, Math.abs(samples[i]))
    levels[Math.round(from * LEVELS + at / step)] = Math.max(0, 100 * (1 + 20 * Math.log10(peak) / FLOOR))
  }
}


// Playing while it loads: what has come is given to the player piece by piece (Media Source Extensions), from the
// cluster on that is listened to.

const AHEAD = 600 // seconds that the player is given before they are due
const KEPT = 10 // seconds that it keeps after they were played
const NEAR = 8 // seconds after what it was given that are worth waiting for
const PORTION = 1 << 17 // bytes given at once

const SourceKind = globalThis.MediaSource ?? globalThis.ManagedMediaSource // iPhones have the second only

class Stream {
  #audio
  #memo
  #file = null // the torrent's, once it is known
  #failed
  #ears = new AbortController() // to all it listens to
  #source
  #buffer
  #feeding = 0 // which feeding is the one that counts
  #fed = null // the byte that it has come to; null when none is going on
  #iterator = null
  #begun = false // the player knows what kind of sound it is
  #clock = null // where the file's own is wrong

  static canPlay (type) {
    return Boolean(SourceKind?.isTypeSupported(type))
  }

  // Before anything is here: play() may be called at once, as long as the browser takes it for the person's wish.
  constructor (audio, memo, failed) {
    this.#audio = audio
    this.#memo = memo
    this.#failed = failed
    this.#source = new SourceKind()
    const { signal } = this.#ears
    this.#source.addEventListener('sourceopen', () => this.#open(), { signal })
    audio.disableRemotePlayback = true // else a ManagedMediaSource does not open
    audio.src = URL.createObjectURL(this.#source)
    audio.addEventListener('seeking', () => this.#look(), { signal })
    audio.addEventListener('waiting', () => this.#look(), { signal })
    audio.addEventListener('error', () => this.#fail(), { signal })
  }

  // The file, and again when it is the same one from another torrent.
  set file (file) {
    const goesOn = !this.#file || this.#fed !== null
    this.#file = file
    if (!this.#buffer) this.#open()
    else if (goesOn) this.#feed(this.#audio.currentTime)
  }

  // What kind of sound it is may be known with the file only.
  #open () {
    if (this.#buffer || !this.#file || !this.#failed || this.#source.readyState !== 'open') return
    try {
      this.#buffer = this.#source.addSourceBuffer(this.#memo.type)
    } catch {
      this.#fail()
      return
    }
    if (!this.#memo.track) this.#buffer.timestampOffset = -this.#memo.begin
    this.#measure()
    this.#feed(this.#audio.currentTime)
  }

  // A browser's recording does not say how long it is; one that grows is as long as what has come.
  #measure () {
    if (!this.#memo.grows && !Number.isFinite(this.#source.duration)) this.#source.duration = this.#memo.duration
  }

  leave () {
    this.#failed = null
    this.#fail()
  }

  #look () {
    const now = this.#audio.currentTime
    const { buffered } = this.#buffer ?? {}
    for (let i = 0; i < buffered?.length; i++) {
      const end = buffered.end(i)
      if (buffered.start(i) <= now + 0.05 && (now < end - 0.1 || end > this.#memo.duration - 0.2)) return
    }
    const frontier = this.#fed === null ? -Infinity : secondsAt(this.#memo, this.#fed)
    if (this.#buffer && this.#file && !(frontier - 1 <= now && now <= frontier + NEAR)) this.#feed(now)
  }

  async #feed (seconds) {
    const mine = ++this.#feeding
    const counts = () => mine === this.#feeding
    this.#iterator?.return()
    const first = this.#memo.clusters[0]?.[1] ?? 0
    const [start, begin] = this.#memo.clusters.findLast(([start]) => start <= seconds) ?? [0, 0]
    this.#fed = begin
    this.#clock = this.#memo.track ? new Clock(this.#memo, begin > first ? start : 0) : null
    try {
      await this.#settled()
      if (!counts()) return
      if (this.#source.readyState === 'open') this.#buffer.abort()
      if (begin > first && !this.#begun) await this.#give(0, first, counts)
      await this.#give(begin > first ? begin : 0, this.#memo.size, counts)
      if (!counts()) return
      this.#fed = null
      if (this.#source.readyState === 'open') this.#source.endOfStream()
    } catch (error) {
      if (counts()) this.#fail(error)
    }
  }

  #fail (error) {
    const failed = this.#failed
    this.#feeding++
    this.#ears.abort()
    this.#iterator?.return()
    this.#buffer = this.#failed = null
    failed?.(error)
  }

  // Give the bytes from `start` to `end` to the player, waiting for those that are not here yet.
  async #give (start, end, counts) {
    const iterator = this.#iterator = this.#file[Symbol.asyncIterator]({ start, end: end - 1 })
    for (let step = await iterator.next(); !step.done && counts(); step = await iterator.next()) {
      for (let at = 0; at < step.value.length && counts(); at += PORTION) {
        const portion = step.value.subarray(at, at + PORTION)
        const mended = this.#clock ? this.#clock.mend(portion) : portion
        if (mended.length) await this.#append(mended, counts)
        start += portion.length
        if (counts() && end === this.#memo.size) this.#fed = start
      }
    }
    if (counts() && start < end) await new Promise(() => {}) // its torrent is gone; the next one feeds anew
  }

  async #append (data, counts) {
    while (counts()) {
      if (this.#fed !== null && secondsAt(this.#memo, this.#fed) - this.#audio.currentTime > AHEAD) {
        await this.#moved()
        continue
      }
      await this.#settled()
      if (!counts()) return
      try {
        this.#buffer.appendBuffer(data)
      } catch (error) {
        if (error.name !== 'QuotaExceededError') throw error
        await this.#makeRoom()
        continue
      }
      await this.#settled()
      this.#begun = true
      if (this.#audio.error) throw this.#audio.error
      this.#measure()
      return
    }
  }

  // The player takes about 12 MB: it gives back what was played and what lies apart, or else plays on first.
  async #makeRoom () {
    const now = this.#audio.currentTime
    const { buffered } = this.#buffer
    const ranges = Array.from({ length: buffered.length }, (_, i) => [buffered.start(i), buffered.end(i)])
    const frontier = secondsAt(this.#memo, this.#fed ?? this.#memo.size)
    const isFed = ([begin, end]) => begin < frontier + 1 && end > frontier - NEAR
    const apart = ranges.find(range => (range[0] > now + 1 || range[1] < now - KEPT) && !isFed(range))
    const played = ranges.find(([begin]) => begin < now - KEPT)
    if (!apart && !played) return this.#moved()
    this.#buffer.remove(...(apart ?? [played[0], now - KEPT]))
    await this.#settled()
  }

  async #settled () {
    while (this.#buffer.updating) await happens(this.#buffer, 'updateend')
  }

  #moved () {
    return Promise.race([happens(this.#audio, 'timeupdate'), happens(this.#audio, 'seeking')])
  }
}

function happens (target, event) {
  return new Promise(resolve => target.addEventListener(event, resolve, { once: true }))
}

// Between two clusters, time and bytes go on evenly: good enough for what is drawn and for what is near.
function secondsAt (memo, byte) {
  return between(memo, 1, 0, byte)
}

function byteAt (memo, seconds) {
  return between(memo, 0, 1, seconds)
}

function between ({ clusters, duration, size }, from, to, at) {
  const points = clusters.length
  const before = clusters.findLastIndex(point => point[from] <= at)
  const low = before < 0 ? [0, 0] : clusters[before]
  const high = before + 1 < points ? clusters[before + 1] : [duration, size]
  const part = high[from] > low[from] ? (at - low[from]) / (high[from] - low[from]) : 1
  return low[to] + (high[to] - low[to]) * Math.min(1, part)
}

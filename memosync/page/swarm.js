
// The swarm of one memo: who has it is met at its trackers, and gives it.

const RETRY = 10 // seconds without any tracker; WebTorrent itself may wait for minutes

class Swarm {
  torrent = null
  pieces = [] // Blobs
  broken = '' // what cannot be helped
  #memo
  #trackers
  #told
  #client = null
  #triedAt = 0
  #clock = 0

  // `told` has what is called with the torrent: `ready` when its file is known, again after another try, and `done`.
  constructor (memo, told) {
    this.#memo = memo
    this.#told = told
    this.#trackers = memo.trackers.filter(isAllowed)
    if (!globalThis.RTCPeerConnection) this.broken = words.powerless
    else if (!memo.trackers.length) this.broken = words.browserless
    else if (!this.#trackers.length) this.broken = fill(words.refused, { hosts: hostsOf(memo.trackers) })
    else this.#meet()
  }

  get hosts () {
    return hostsOf(this.#trackers)
  }

  get isConnected () {
    return Boolean(this.torrent?.discovery?.tracker?._trackers.some(tracker => tracker.socket?.connected))
  }

  leave () {
    clearInterval(this.#clock)
    this.#client?.destroy()
    this.#client = null
  }

  // Leave with the page: a browser that ends a tab waits for nothing, least of all for WebTorrent, and whoever serves it
  // would hold the place of its address for seconds.
  part () {
    for (const { conn } of this.torrent?._peers?.values() ?? []) conn?._pc?.close()
    this.leave()
  }

  #meet () {
    const iceServers = serversOf(this.#memo.stun)
    this.#client = new WebTorrent({ tracker: { rtcConfig: { iceServers } }, dht: false, lsd: false, webSeeds: false })
    this.#client.on('error', error => { this.broken = fill(words.failed, { error: error.message }) })
    this.#join()
    this.#clock = setInterval(() => {
      const { done, numPeers } = this.torrent
      if (done || numPeers || this.isConnected || this.broken || seconds() - this.#triedAt < RETRY) return
      this.#triedAt = seconds()
      this.#client.remove(this.torrent, { destroyStore: false }, () => this.#join())
    }, 1000)
  }

  #join () {
    this.#triedAt = seconds()
    const { pieces } = this
    const store = function (chunkLength) { return new Store(chunkLength, pieces) }
    const torrent = this.#client.add(known(this.#memo), { announce: this.#trackers, store, strategy: 'sequential' })
    this.torrent = torrent
    torrent.on('ready', () => this.#told.ready(torrent))
    torrent.on('done', () => this.#told.done(torrent))
    torrent.on('wire', wire => { wire.downloaded ||= 1 }) // of who gave nothing yet it asks for the memo's end, to try it
    torrent.on('warning', () => {}) // trackers that do not answer are seen by what is not connected
  }
}

// The browser refuses an unencrypted tracker to a page that came by https, but for this machine's own.
function isAllowed (tracker) {
  const { protocol, hostname } = new URL(tracker)
  return location.protocol !== 'https:' || protocol === 'wss:' || /^(localhost|127[\d.]+)$/.test(hostname)
}

// With the torrent nobody has to be asked for it: those who wait have none to give to each other.
function known ({ torrent, infohash }) {
  return torrent ? bytesIn(torrent) : `magnet:?xt=urn:btih:${infohash}`
}

function bytesIn (base64) {
  return Uint8Array.from(atob(base64), character => character.charCodeAt(0))
}

function serversOf (stun) {
  const servers = stun ? [{ urls: `stun:${stun}` }] : []
  try {
    new RTCPeerConnection({ iceServers: servers }).close()
    return servers
  } catch {
    return []
  }
}

// A peer in a browser: WebTorrent as it comes. Served to a tab by browser.py, which calls what is in `peer`.
import WebTorrent from './webtorrent.min.js'

const sha256 = async blob => {
  const digest = await crypto.subtle.digest('SHA-256', await blob.arrayBuffer())
  return Array.from(new Uint8Array(digest), byte => byte.toString(16).padStart(2, '0')).join('')
}
const seconds = () => performance.now() / 1000 // since the tab was sent here

window.peer = {
  warnings: [], // what WebTorrent says of trackers and peers

  client (stun) {
    if (!this.made) {
      this.made = new WebTorrent({ tracker: { rtcConfig: { iceServers: stun.map(urls => ({ urls })) } } })
      this.made.on('error', error => console.error(error.message))
    }
    return this.made
  },

  watch (torrent) {
    torrent.on('warning', warning => this.warnings.push(String(warning.message ?? warning)))
    return torrent
  },

  // Begin to fetch, and return at once.
  add (magnet, stun) {
    const began = seconds()
    const seen = { began }
    const torrent = this.watch(this.client(stun).add(magnet))
    const since = () => seconds() - began
    torrent.on('wire', wire => { seen.first_peer ??= since(); seen.kind ??= wire.type })
    torrent.on('metadata', () => { seen.metadata = since() })
    this.fetching = new Promise((resolve, reject) => {
      torrent.on('error', reject)
      torrent.on('done', async () => {
        seen.done = since()
        const [file] = torrent.files
        const blob = await file.blob()
        resolve({ ...seen, name: file.name, size: blob.size, sha256: await sha256(blob), infohash: torrent.infoHash })
      })
    })
    this.fetching.catch(() => {}) // said to whoever asks for it
  },

  // Seed a Blob under a name; trackers are all it is announced to.
  async seed (blob, name, trackers, stun) {
    const file = new File([blob], name)
    const torrent = await new Promise(resolve =>
      this.client(stun).seed(file, { name, announceList: [trackers] }, resolve))
    this.watch(torrent)
    return { magnet: torrent.magnetURI, sha256: await sha256(blob), size: blob.size, infohash: torrent.infoHash }
  },

  // Record what the microphone hears, as the page of an app does; Chromium's fake one beeps.
  async record (seconds, timeslice) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true })
    const recorder = new MediaRecorder(stream, { mimeType: 'audio/webm;codecs=opus' })
    const parts = []
    recorder.ondataavailable = event => parts.push(event.data)
    const stopped = new Promise(resolve => { recorder.onstop = resolve })
    recorder.start(timeslice)
    await new Promise(resolve => setTimeout(resolve, seconds * 1000))
    recorder.stop()
    await stopped
    stream.getTracks().forEach(track => track.stop())
    return new Blob(parts, { type: recorder.mimeType })
  },

  // Tell of the swarms and their peers.
  status () {
    return this.client([]).torrents.map(torrent => ({
      infohash: torrent.infoHash,
      progress: torrent.progress,
      peers: torrent.wires.map(wire => ({ kind: wire.type, id: wire.peerId, address: wire.remoteAddress ?? null }))
    }))
  },

  leave () {
    return new Promise(resolve => this.client([]).destroy(resolve))
  }
}

if (location.hash) window.peer.add(decodeURIComponent(location.hash.slice(1)), []) // somebody opened a link

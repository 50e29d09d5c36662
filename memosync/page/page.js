
// The page: a swarm, a player, and what they do to what is seen.

const RETRY = 10 // seconds without any tracker; WebTorrent itself may wait for minutes
const { words, ...memo } = JSON.parse(document.getElementById('memo').textContent)
const element = Object.fromEntries([...document.querySelectorAll('[id]')].map(found => [found.id, found]))
const { audio, play, position } = element
const wave = new Wave(element.wave, memo.heights)

let torrent = null
let broken = '' // what cannot be helped
let wanted = false // to be played, as soon as that is possible
let triedAt = 0
let newsAt = seconds() // when something came last
let came = 0 // bytes, then
let aloneFrom = newsAt // when the last peer was there
const stream = Stream.canPlay(memo.type) ? new Stream(audio, memo, playWhole) : null

function seconds () {
  return performance.now() / 1000
}

// The browser refuses an unencrypted tracker to a page that came by https, but for this machine's own.
const trackers = memo.trackers.filter(tracker => {
  const { protocol, hostname } = new URL(tracker)
  return location.protocol !== 'https:' || protocol === 'wss:' || /^(localhost|127\..*)$/.test(hostname)
})

// With the torrent nobody has to be asked for it: those who wait have none to give to each other.
const known = memo.torrent
  ? Uint8Array.from(atob(memo.torrent), character => character.charCodeAt(0))
  : `magnet:?xt=urn:btih:${memo.infohash}`

function iceServers () {
  const servers = memo.stun ? [{ urls: `stun:${memo.stun}` }] : []
  try {
    new RTCPeerConnection({ iceServers: servers }).close()
    return servers
  } catch {
    return []
  }
}

function meet () {
  if (!globalThis.RTCPeerConnection) {
    broken = words.powerless
    return
  }
  if (!trackers.length) {
    broken = fill(words.refused, { hosts: hostsOf(memo.trackers) })
    return
  }
  const client = new WebTorrent({ tracker: { rtcConfig: { iceServers: iceServers() } }, dht: false, lsd: false, webSeeds: false })
  client.on('error', error => { broken = fill(words.failed, { error: error.message }) })
  join(client)
  setInterval(() => {
    const missing = !torrent.done && !torrent.numPeers && !isConnected()
    if (!missing || broken || seconds() - triedAt < RETRY) return
    triedAt = seconds()
    client.remove(torrent, { destroyStore: false }, () => join(client))
  }, 1000)
}

function join (client) {
  triedAt = seconds()
  torrent = client.add(known, { announce: trackers, store: Store, strategy: 'sequential' })
  torrent.on('ready', () => {
    if (stream) stream.file = torrent.files[0]
  })
  torrent.on('done', () => {
    element.save.href = URL.createObjectURL(whole())
    element.save.download = memo.name
    element.save.removeAttribute('aria-disabled')
    if (!stream) playWhole()
  })
  torrent.on('warning', () => {}) // trackers that do not answer are seen by what is not connected
}

function isConnected () {
  return Boolean(torrent.discovery?.tracker?._trackers.some(tracker => tracker.socket?.connected))
}

function whole () {
  return new Blob(pieces, { type: 'audio/webm' })
}

async function mended () {
  const data = new Clock(memo, 0).mend(new Uint8Array(await whole().arrayBuffer()))
  return new Blob([data], { type: 'audio/webm' })
}

// Where it cannot be played while it loads, or that failed: from where it was, once all of it is here.
async function playWhole () {
  if (!torrent.done) {
    torrent.once('done', playWhole)
    return
  }
  const file = memo.track ? await mended() : whole()
  const at = audio.currentTime
  audio.src = URL.createObjectURL(file)
  audio.currentTime = at
  audio.addEventListener('error', () => {
    broken = words.unplayable
  }, { once: true })
  if (wanted) start()
}

function start () {
  wanted = true
  if (!audio.src) return
  audio.play().catch(error => {
    if (error.name === 'NotAllowedError') wanted = false // it was pressed too long ago
  })
}

function toggle () {
  if (wanted) {
    wanted = false
    audio.pause()
  } else start()
  show()
}

function seek (to) {
  audio.currentTime = Math.min(Math.max(0, to), memo.duration)
  show()
}

function isHere (part) {
  return torrent?.bitfield?.get(Math.floor(byteAt(memo, part * memo.duration) / torrent.pieceLength)) ?? false
}

// What changes with every moment; what is said, and what comes, changes with `tell`.
function show () {
  const now = audio.currentTime
  const isWaiting = wanted && !audio.ended && audio.readyState < 3
  play.classList.toggle('playing', wanted)
  play.classList.toggle('waiting', isWaiting)
  play.setAttribute('aria-label', wanted ? words.pause : words.play)
  play.setAttribute('aria-busy', isWaiting)
  const said = fill(words.at, { now: clock(now), all: clock(memo.duration) })
  if (position.getAttribute('aria-valuetext') !== said) position.setAttribute('aria-valuetext', said)
  position.value = now
  element.now.textContent = clock(now)
  wave.draw(memo.duration ? now / memo.duration : 0, isHere)
}

function tell () {
  const downloaded = torrent?.downloaded ?? 0
  const peers = torrent?.numPeers ?? 0
  if (downloaded > came || !peers) [came, newsAt] = [downloaded, seconds()]
  if (peers) aloneFrom = seconds()
  const rate = torrent?.downloadSpeed ?? 0
  const done = torrent?.done ?? false
  const [sentence, help] = describe({
    broken,
    done,
    streams: Boolean(stream),
    peers,
    downloaded,
    idle: seconds() - newsAt,
    waited: seconds() - aloneFrom,
    offline: navigator.onLine === false,
    connected: torrent ? isConnected() : false,
    hosts: hostsOf(trackers)
  })
  if (element.state.textContent !== sentence) element.state.textContent = sentence
  element.help.hidden = !help
  const part = done ? 1 : downloaded / memo.size
  element.loaded.value = part
  const numbers = [fill(words.progress, { percent: Math.floor(part * 100), size: sizeInWords(memo.size) })]
  if (rate && !done) numbers.push(fill(words.rate, { size: sizeInWords(rate) }))
  numbers.push(peers ? count(words.peers, peers) : words.nobody)
  element.numbers.textContent = numbers.join(' · ')
  show()
}

play.addEventListener('click', toggle)
position.addEventListener('input', () => seek(Number(position.value)))
audio.addEventListener('pause', () => { // also by a headset's key, and at the end
  wanted = false
  show()
})
for (const event of ['playing', 'waiting', 'seeked', 'timeupdate']) audio.addEventListener(event, show)

document.addEventListener('keydown', event => {
  if (event.altKey || event.ctrlKey || event.metaKey) return
  const steps = { ArrowLeft: -5, ArrowRight: 5, ArrowDown: -5, ArrowUp: 5, PageDown: -30, PageUp: 30 }
  const isSlider = event.target === position
  if (event.key === ' ' && !event.target.closest('button, a, summary')) toggle()
  else if (steps[event.key] && (isSlider || /Left|Right/.test(event.key))) seek(audio.currentTime + steps[event.key])
  else return
  event.preventDefault()
})

element.copy.addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(element.magnet.href)
  } catch { // not there on a page that came by plain http
    element.magnet.closest('details').open = true
    getSelection().selectAllChildren(element.magnet)
    document.execCommand('copy')
  }
  element.copy.textContent = words.copied
  setTimeout(() => { element.copy.textContent = words.copy }, 2000)
})

for (const query of ['(prefers-color-scheme: dark)', '(forced-colors: active)']) {
  matchMedia(query).addEventListener('change', show)
}
addEventListener('resize', show)

if ('mediaSession' in navigator) {
  navigator.mediaSession.metadata = new MediaMetadata({ title: memo.title })
  const actions = { play: start, pause: toggle, seekbackward: () => seek(audio.currentTime - 10), seekforward: () => seek(audio.currentTime + 10) }
  for (const [action, act] of Object.entries(actions)) navigator.mediaSession.setActionHandler(action, act)
}

function frame () {
  if (!audio.paused) show()
  requestAnimationFrame(frame)
}

meet()
tell()
setInterval(tell, 500)
frame()

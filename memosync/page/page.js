
// The page: what it knows of a memo, a player, and what they do to what is seen.

const { words, ...given } = JSON.parse(document.getElementById('memo').textContent)
const element = Object.fromEntries([...document.querySelectorAll('[id]')].map(found => [found.id, found]))
const { audio, play, position } = element
const wave = new Wave(element.wave)
const ASSUMED = 'audio/webm; codecs="opus"' // until the file says what it is

let memo = given
let swarm = null
let stream = null // null where it is not played while it loads
let broken = '' // what cannot be helped
let wanted = false // to be played, as soon as that is possible
let introduced = null // once the file said what it is
let goal = 0 // seconds, where it is to be played from once that is known
let newsAt = 0 // when something came last
let came = 0 // bytes, then
let aloneFrom = 0 // when the last peer was there

function seconds () {
  return performance.now() / 1000
}

// Begin with a memo, and leave the one before.
function begin (another) {
  leave()
  broken = ''
  memo = another
  newsAt = aloneFrom = seconds()
  stream = Stream.canPlay(memo.type || ASSUMED) ? new Stream(audio, memo, mine(playWhole)) : null
  if (memo.key && !crypto.subtle.decrypt) broken = words.insecure
  else swarm = new Swarm(memo, { ready: mine(ready), done: mine(done) })
  if (wanted) start()
  know()
}

function leave () {
  swarm?.leave()
  stream?.leave()
  audio.removeAttribute('src')
  audio.load()
  swarm = stream = null
  introduced = null
  goal = came = 0
  URL.revokeObjectURL(element.save.href)
  element.save.removeAttribute('href')
  element.save.setAttribute('aria-disabled', 'true')
}

// Show what is known of the memo's sound by now.
function know () {
  wave.take(memo.heights, memo.grows === undefined ? memo.heights.length : memo.duration * LEVELS)
  position.max = memo.duration
  element.all.textContent = clock(memo.duration)
  if (goal && goal < reach()) {
    seek(goal)
    goal = 0
  }
  if ('mediaSession' in navigator) navigator.mediaSession.metadata = new MediaMetadata({ title: memo.title })
  tell()
}

function opened (file) {
  return memo.key ? new Sealed(file, bytesIn(memo.key)) : file
}

async function ready (torrent) {
  const file = opened(torrent.files[0])
  if (!memo.type) await (introduced = introduce(file, torrent))
  if (stream) stream.file = file
}

async function done (torrent) {
  const its = memo
  await introduced
  const file = await whole(torrent)
  if (memo !== its) return
  element.save.href = URL.createObjectURL(file)
  element.save.download = memo.name
  element.save.removeAttribute('aria-disabled')
  if (!stream) await playWhole()
}

// Do something for this memo; what becomes of one that was left is nobody's business.
function mine (act) {
  const its = memo
  return async value => {
    try {
      if (memo === its) await act(value)
    } catch (error) {
      if (memo === its) refuse(error)
    }
  }
}

function refuse (error) {
  if (error instanceof Fault) swarm?.leave() // whatever else comes is of no use
  broken ||= error instanceof Fault ? error.message : fill(words.failed, { error: error.message })
}

async function whole (torrent) {
  const type = 'audio/webm'
  if (!memo.key) return new Blob(swarm.pieces, { type })
  const file = opened(torrent.files[0])
  const parts = []
  for await (const part of file[Symbol.asyncIterator]({ start: 0, end: file.length - 1 })) parts.push(new Blob([part]))
  return new Blob(parts, { type })
}

// Where it cannot be played while it loads, or that failed: from where it was, once all of it is here.
async function playWhole (error) {
  if (error instanceof Fault) throw error
  stream = null
  const { torrent } = swarm
  if (!torrent?.done) return // then it is called again
  let file = await whole(torrent)
  if (memo.track) file = new Blob([new Clock(memo, 0).mend(new Uint8Array(await file.arrayBuffer()))], { type: file.type })
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
  audio.currentTime = Math.min(Math.max(0, to), reach())
  show()
}

// How far it can be played by now: of what does not say how long it is, as far as it is here.
function reach () {
  const { seekable } = audio
  return memo.grows ? seekable.length && seekable.end(seekable.length - 1) : memo.duration
}

function isHere (part) {
  const byte = byteAt(memo, part * memo.duration)
  const { bitfield, pieceLength } = swarm?.torrent ?? {}
  return bitfield?.get(Math.floor((memo.key ? sealedAt(byte) : byte) / pieceLength)) ?? false
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
  const { downloaded = 0, numPeers: peers = 0, downloadSpeed: rate = 0, done: isDone = false, length } = swarm?.torrent ?? {}
  if (downloaded > came || !peers) [came, newsAt] = [downloaded, seconds()]
  if (peers) aloneFrom = seconds()
  const [sentence, help] = describe({
    broken: broken || swarm?.broken,
    done: isDone,
    streams: Boolean(stream),
    peers,
    downloaded,
    idle: seconds() - newsAt,
    waited: seconds() - aloneFrom,
    offline: navigator.onLine === false,
    connected: swarm?.isConnected,
    hosts: swarm?.hosts
  })
  if (element.state.textContent !== sentence) element.state.textContent = sentence
  element.help.hidden = !help
  const size = length || memo.size
  const part = isDone ? 1 : size ? downloaded / size : 0
  element.loaded.value = part
  const numbers = size ? [fill(words.progress, { percent: Math.floor(part * 100), size: sizeInWords(memo.size || size) })] : []
  if (rate && !isDone) numbers.push(fill(words.rate, { size: sizeInWords(rate) }))
  numbers.push(peers ? count(words.peers, peers) : words.nobody)
  element.numbers.textContent = numbers.join(' · ')
  show()
}

for (const query of ['(prefers-color-scheme: dark)', '(forced-colors: active)']) {
  matchMedia(query).addEventListener('change', show)
}
addEventListener('resize', show)
addEventListener('pagehide', ({ persisted }) => { if (!persisted) swarm?.part() })

function frame () {
  if (!audio.paused) show()
  requestAnimationFrame(frame)
}

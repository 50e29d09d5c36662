
// What the person does: buttons, sliders, keys, and times in the description.

const STEPS = { ArrowLeft: -5, ArrowRight: 5, ArrowDown: -5, ArrowUp: 5, PageDown: -30, PageUp: 30 } // seconds
const TIME = /(?<![\d:.,-])(?:(\d{1,2}):)?([0-5]?\d):([0-5]\d)(?![\d:]|[.,]\d)/g // 1:30, 01:02:03

play.addEventListener('click', toggle)
element.back.addEventListener('click', () => seek(audio.currentTime - 15))
element.forth.addEventListener('click', () => seek(audio.currentTime + 15))
position.addEventListener('input', () => seek(Number(position.value)))
element.volume.addEventListener('input', () => { audio.volume = Number(element.volume.value) })
element.speed.addEventListener('change', () => {
  audio.playbackRate = audio.defaultPlaybackRate = Number(element.speed.value) // the second is that of what comes next
})
audio.addEventListener('pause', () => { // also by a headset's key, and at the end
  wanted = false
  show()
})
for (const event of ['playing', 'waiting', 'seeked', 'timeupdate']) audio.addEventListener(event, show)

document.addEventListener('keydown', event => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest('textarea, select')) return
  const isSlider = event.target === position
  const step = event.target === element.volume ? 0 : STEPS[event.key]
  if (event.key === ' ' && !event.target.closest('button, a, summary')) toggle()
  else if (step && (isSlider || /Left|Right/.test(event.key))) seek(audio.currentTime + step)
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

if ('mediaSession' in navigator) {
  const steps = { seekbackward: -15, seekforward: 15 }
  const actions = Object.entries(steps).map(([name, step]) => [name, () => seek(audio.currentTime + step)])
  for (const [name, act] of [['play', start], ['pause', toggle], ...actions]) navigator.mediaSession.setActionHandler(name, act)
}

// Where the address says that it shall begin: #t=90, #t=1:30; 0 where it does not.
function timeIn (text) {
  const [, time = '0'] = /(?:^|[#&?])t=(\d[\d:]*(?:\.\d+)?)/.exec(text) ?? []
  return time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0)
}

// Show the description, and have the times in it lead there.
function linkTimes (text) {
  const parts = []
  let end = 0
  for (const { 0: time, index } of text.matchAll(TIME)) {
    const to = timeIn(`t=${time}`)
    if (to >= memo.duration) continue
    const button = document.createElement('button')
    button.type = 'button'
    button.textContent = time
    button.setAttribute('aria-label', fill(words.from, { time }))
    button.addEventListener('click', () => {
      seek(to)
      start()
    })
    parts.push(text.slice(end, index), button)
    end = index + time.length
  }
  element.description.replaceChildren(...parts, text.slice(end))
}


// A page that has no memo in it: it opens what stands behind its #, or is pasted, and remembers nothing.

const LARGEST_MEMO = 1e9 // bytes, as of `fetch`
const [LONGEST_TITLE, LONGEST_DESCRIPTION, MOST_TAGS] = [500, 20000, 50] // as in the index

const asking = document.title

let memos = []

// Open what is in an address or a text, and give the links; ask for one where there is none.
function read (text) {
  let said = ''
  try {
    const links = linksIn(text)
    if (links.length) {
      openAll(links, timeIn(text))
      return links
    }
    if (text.replace(/\?[^#]*/, '') !== location.href) said = words.unreadable
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    said = error.message
  }
  wanted = false
  leave()
  memo = given
  know()
  document.title = asking
  element.opened.hidden = true
  element.ask.hidden = false
  element.said.textContent = said
  element.pasted.focus()
  return []
}

function openAll (links, from) {
  const isAsked = element.ask.contains(document.activeElement)
  memos = links.map(link => ({
    ...given,
    ...link,
    trackers: link.namesTrackers ? link.trackers.filter(mayCall) : given.trackers
  }))
  element.ask.hidden = true
  element.opened.hidden = false
  element.memos.hidden = memos.length < 2
  element.memos.querySelector('ol').replaceChildren(...memos.map(row))
  choose(memos[0])
  goal = from
  if (isAsked) play.focus()
}

function row (its, index) {
  const item = document.createElement('li')
  const button = its.button = document.createElement('button')
  button.type = 'button'
  button.dir = 'auto'
  button.textContent = its.title || fill(words.number, { number: index + 1 })
  button.addEventListener('click', () => choose(its))
  item.append(button)
  return item
}

function choose (its) {
  begin({ ...its, type: '', heights: [], clusters: [], grows: true })
  for (const other of memos) other.button.setAttribute('aria-current', other === its)
  memo.button = its.button
  present({})
}

// What the page's policy lets it call. To the host of this page the browser would send what it is known by there, so a
// link names nothing there that could be more than a tracker.
function mayCall (tracker) {
  const { protocol, hostname, host, pathname, search } = new URL(tracker)
  if (given.trackers.some(ours => new URL(ours).host === host)) return true
  if (hostname === location.hostname && (search || !/^\/(?:announce)?$/.test(pathname))) return false
  return protocol === 'wss:' || (given.near && hostname === '127.0.0.1')
}

// Read what the file says of itself, as soon as its beginning is here.
async function introduce (file, torrent) {
  const its = memo
  if (torrent.files.length !== 1) throw new Fault(words.foreign)
  if (!its.key && /^[\da-f]{16}$/.test(torrent.name)) throw new Fault(words.keyless)
  if (file.length > LARGEST_MEMO) throw new Fault(fill(words.large, { size: sizeInWords(file.length) }))
  its.size = file.length
  its.name = torrent.name
  const head = await Head.of(file)
  if (its !== memo) return
  const { begin } = head
  its.type = `audio/webm; codecs="${head.codec}"`
  its.grows = !head.duration || !head.clusters.length
  its.duration = head.duration
  if (its.grows) its.track = head.codec === 'opus' ? head.track : 0
  else Object.assign(its, { begin, clusters: head.clusters.map(([time, place]) => [time - begin, place]) })
  present(head.tags)
  if (head.codec === 'opus') {
    const here = opened(new Here(torrent, swarm.pieces))
    const fail = mine(error => { throw error })
    listen(head, here, (...heard) => { if (its === memo) grow(...heard) }).catch(fail)
  }
}

// Take in what was heard of it by now.
function grow (levels, { seconds, bytes, clusters }, isAll) {
  if (memo.grows) {
    memo.grows = !isAll
    memo.clusters = clusters
    memo.duration = isAll ? seconds : seconds * memo.size / bytes
  }
  memo.heights = levels
  know()
}

// Show the words that came with it.
function present ({ TITLE, DESCRIPTION = '', KEYWORDS = '', DATE_RECORDED = '' }) {
  memo.title = (TITLE || memo.title || (memo.key ? '' : memo.name?.replace(/\.webm$/, '')) || '').slice(0, LONGEST_TITLE)
  document.title = element.title.textContent = memo.title || words.untitled
  if (memo.title) memo.button.textContent = memo.title
  const plain = (memo.title || words.untitled).slice(0, 80).replace(/[\p{C}/\\:*?"<>|]/gu, '-')
  memo.name = `${plain}.webm`
  element.tags.replaceChildren(...KEYWORDS.split(',', MOST_TAGS).filter(Boolean).map(tag => {
    const item = document.createElement('li')
    item.dir = 'auto'
    item.textContent = tag
    return item
  }))
  const date = dateIn(DATE_RECORDED)
  element.date.textContent = date
  element.when.hidden = !date
  element.length.textContent = clock(memo.duration)
  linkTimes(DESCRIPTION.slice(0, LONGEST_DESCRIPTION))
  element.programs.hidden = Boolean(memo.key)
  element.private.hidden = !memo.key
  element.magnet.textContent = element.magnet.href = memo.link
  know()
}

// As it was where it was recorded.
function dateIn (text) {
  const [, year, month, day, hour, minute] = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)/.exec(text) ?? []
  if (!year) return ''
  const { pattern, weekdays, months } = given.date
  const weekday = weekdays[(new Date(Date.UTC(year, month - 1, day)).getUTCDay() + 6) % 7]
  return fill(pattern, { weekday, day: Number(day), month: months[month - 1], year, hour, minute })
}

// A key is nothing for the address bar, nor for what a reload would read, in whatever way it is written.
function readAddress () {
  const address = location.href
  history.replaceState(null, '', address.split(/[?#]/)[0])
  const links = read(address)
  if (links.length && !links.some(({ key }) => key)) history.replaceState(null, '', address)
}

element.open.addEventListener('click', () => {
  const text = element.pasted.value
  element.pasted.value = ''
  read(text)
})
element.pasted.addEventListener('keydown', event => {
  if (event.key !== 'Enter') return
  event.preventDefault()
  element.open.click()
})
audio.addEventListener('durationchange', () => { // of what is not Opus, and does not say it
  if (!memo.grows || !Number.isFinite(audio.duration)) return
  memo.duration = audio.duration
  know()
})
audio.addEventListener('ended', () => {
  const next = memos[memos.findIndex(({ button }) => button === memo.button) + 1]
  if (!next) return
  wanted = true
  choose(next)
})
addEventListener('hashchange', () => { if (location.hash) readAddress() })
readAddress()
setInterval(tell, 500)
frame()

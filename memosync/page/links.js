
// Links, as people paste them: magnets, HASH.KEY, and either in the address of a page, behind ?seeds= or the #.

const MOST_SEEDS = 1000 // memos
const MOST_TRACKERS = 20
const HASH = /^(?:urn:)?(?:btih:)?([\da-f]{40}|[a-z2-7]{32})(?:\.([a-z\d]+))?$/i

// Give all links in an address or a text; none where there is none. A Fault for one that is not whole.
function linksIn (text) {
  const pasted = text.trim().replace(/^["'<(\s]+|["'>)\s]+$/g, '').replace(/&amp;/g, '&')
  const [query, fragment] = /^(?:https?|file):/i.test(pasted)
    ? [new URL(pasted).search.slice(1), new URL(pasted).hash.slice(1)]
    : ['', pasted]
  const found = [...textsIn(fragment), ...textsIn(query)].slice(0, MOST_SEEDS).map(readLink)
  return found.filter((link, i) => found.findIndex(other => other.infohash === link.infohash) === i)
}

function textsIn (part) {
  const plain = /^magnet%3a/i.test(part) ? decodeURIComponent(part) : part
  if (/(^|=)magnet:/i.test(plain)) { // nobody encoded them: each ends where the next one begins
    return plain.split(/(?=magnet:)/i).slice(/^magnet:/i.test(plain) ? 0 : 1).map(one => one.replace(/[?&]\w*=$/, ''))
  }
  const whole = plain.replace(/^[/!?]+/, '')
  const first = whole.split(/[?&/]/)[0]
  const values = new URLSearchParams(whole.slice(whole.indexOf('?') + 1))
  const seeds = values.getAll('seeds')
  return seeds.length ? seeds : [first, ...values.values()].filter(value => HASH.test(value) || /^magnet:/i.test(value))
}

// A magnet (BEP 9) or HASH.KEY.
function readLink (text) {
  const values = new URLSearchParams(text.replace(/^magnet:\/*\??/i, ''))
  const all = name => [...values].filter(([key]) => key.toLowerCase().replace(/\.\d+$/, '') === name).map(([, value]) => value)
  const topic = /^magnet:/i.test(text) ? all('xt').map(value => HASH.exec(value)).find(Boolean) : HASH.exec(text)
  if (!topic) throw new Fault(words.unreadable)
  const [, hash, short] = topic
  const keys = new Set([...all('x.key'), ...(short ? [short] : [])].map(key => readKey(key)))
  if (keys.size > 1) throw new Fault(words.unreadable)
  return {
    infohash: hash.length === 40 ? hash.toLowerCase() : hexadecimal(base32(hash)),
    key: [...keys][0] ?? '',
    title: all('dn')[0] ?? '',
    trackers: all('tr').filter(isTracker).slice(0, MOST_TRACKERS),
    namesTrackers: all('tr').length > 0,
    link: /^magnet:/i.test(text) ? text : `magnet:?xt=urn:btih:${topic[0].replace(/^.*:/, '')}`
  }
}

// 26 characters are 16 bytes, and two bits of 0; as base64, which is what the pages keep.
function readKey (text) {
  const bytes = /^[a-z2-7]{26}$/i.test(text) ? base32(text) : []
  if (bytes.length !== 17 || bytes[16]) throw new Fault(words.unreadable)
  return btoa(String.fromCharCode(...bytes.slice(0, 16)))
}

// Without padding; the last byte has what bits remain (RFC 4648, 6).
function base32 (text) {
  let bits = ''
  for (const character of text.toLowerCase()) {
    bits += 'abcdefghijklmnopqrstuvwxyz234567'.indexOf(character).toString(2).padStart(5, '0')
  }
  return bits.match(/.{1,8}/g).map(byte => parseInt(byte, 2))
}

function hexadecimal (bytes) {
  return bytes.map(byte => byte.toString(16).padStart(2, '0')).join('')
}

// What is behind a # would be sent.
function isTracker (text) {
  return /^wss?:/i.test(text) && URL.canParse(text) && !new URL(text).username && !text.includes('#')
}

// Take the key out of the address bar, and out of what a reload would read.
function hideLink () {
  if (/key|\.[a-z2-7]{20}/i.test(location.hash + location.search)) history.replaceState(null, '', location.pathname)
}

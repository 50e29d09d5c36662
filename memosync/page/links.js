
// Links, as people paste them: magnets, HASH.KEY, and either in the address of a page, behind ?seeds= or the #. What
// both read is the same memo, with the same key, to `magnet.py`.

const LONGEST_LINK = 1000000 // characters
const MOST_PARTS = 50000 // of a query
const MOST_SEEDS = 1000 // memos
const MOST_TRACKERS = 20
const UNSEEN = /[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]/g // no width, or direction
const BEGIN = /(?<![a-z\d])(?:magnet(?::|%3a)|https?:\/\/|file:\/\/|\??xt=urn:btih:|(?:urn:)?btih:)/i
const MAGNET = /^(?:magnet(?::|%3a)|(?:\??xt=)?urn:btih:|btih:)/i
const HASH = /^([\da-f]{40}|[a-z2-7]{32}|[\da-f]{40}\.([a-z2-7]{16,40}))$/i
const LINES = /\r\n|[\n-\r\x85\u2028\u2029]/
const BEFORE = '(<[{„“”«»‹›‘‚「『《（【"\u0027\u0060' // a link, in a sentence
const BEHIND = '.,;:!?…·"\u0027\u0060“”„«»‹›‘’‚」』》）】)>]}'

// Give all links in an address or a text; none where there is none. A Fault for one that is not whole.
function linksIn (text) {
  if (text.length > LONGEST_LINK) throw new Fault(words.unreadable)
  const found = unwrap(text).flatMap(split).slice(0, MOST_SEEDS).map(readLink)
  return [...new Map(found.reverse().map(link => [link.infohash, link])).values()].reverse() // the first one counts
}

// Links stand one a line, or in several where a program wrapped them; a blank one ends it.
function unwrap (text) {
  const links = []
  let isOpen = false
  for (const whole of text.replace(UNSEEN, '').split(LINES)) {
    const line = whole.trim().replace(/^[> ]+/, '').split('\t')[0].trim() // quoted in a mail; a row's first field
    const at = line.search(BEGIN)
    const begins = HASH.test(strip(line)) || (at >= 0 && /(?:^|\s)["\u0027\u0060„“«‹‘(<[{]{0,3}$/.test(line.slice(0, at)))
    if (isOpen && line && !begins) links.push(links.pop() + line)
    else if (line) links.push(line)
    isOpen = line !== ''
  }
  return links.map(strip)
}

// Take off what stands around a link.
function strip (text) {
  let [begin, end] = [Math.max(0, text.search(BEGIN)), text.length]
  while (begin < end && BEFORE.includes(text[begin])) begin++
  while (begin < end && (BEHIND + ' ').includes(text[end - 1].replace(/\s/, ' '))) end--
  return text.slice(begin, end).replace(/&(?:(?:amp|#0*38|#x0*26);)+/gi, '&')
}

// Take the address of a page apart: its links are those of `seeds=`, else those that its query or fragment is or has.
function split (text) {
  if (isLink(text)) return [text]
  const [, query = '', fragment = ''] = /^(?:https?|file):[^?#]*(?:\?([^#]*))?#?(.*)$/is.exec(text) ?? []
  const parts = [query, fragment].map(linksOf)
  const [seeds, others] = [0, 1].map(kind => parts.flatMap(found => found[kind]))
  return seeds.length ? seeds : others
}

function linksOf (part) {
  const raw = part.split(/(?=magnet:\/*\?)/i) // nobody encoded them: each ends where the next one begins
  if (raw.length > 1 || MAGNET.test(part)) return [[], raw.filter(isLink).map(one => one.replace(/[?&][\w.]*=$/, ''))]
  const whole = part.replace(/^[/!?]+/, '')
  if (isLink(whole)) return [[], [whole]]
  const values = valuesIn(part.slice(part.indexOf('?') + 1))
  const seeds = values.filter(([name]) => name === 'seeds').map(([, value]) => value)
  return [seeds, [whole.split(/[?&/]/)[0], ...values.map(([, value]) => value)].filter(isLink)]
}

function valuesIn (query) {
  if (query.split('&').length > MOST_PARTS) throw new Fault(words.unreadable)
  return [...new URLSearchParams(query)].filter(([, value]) => value)
}

function isLink (text) {
  return HASH.test(text) || MAGNET.test(text)
}

// A magnet (BEP 9) or HASH.KEY.
function readLink (text) {
  const plain = (/^magnet(?:%3a|:[^=]*%3d)/i.test(text) ? decoded(text) : text).replace(/^magnet:\/*\??/i, '')
  const magnet = HASH.test(plain) ? `xt=urn:btih:${plain}` : plain.replace(/^(?:\??xt=)?(?:urn:)?btih:/i, 'xt=urn:btih:')
  const values = valuesIn(magnet)
  const all = name => values.filter(([key]) => key.toLowerCase().replace(/\.\d+$/, '') === name).map(([, value]) => value)
  const topic = all('xt').filter(value => /^urn:btih:/i.test(value)).map(value => HASH.exec(value.slice(9))).find(Boolean)
  if (!topic) throw new Fault(words.unreadable)
  const [, hash, short] = topic
  const keys = new Set([...all('x.key'), ...(short ? [short] : [])].map(readKey))
  if (keys.size > 1) throw new Fault(words.unreadable)
  const whole = magnet.replace(/(?<=(?:^|&)xt=urn:btih:[\da-f]{40})\./i, '&x.key=')
  const infohash = hash.length === 32 ? hexadecimal(base32(hash)) : hash.slice(0, 40).toLowerCase()
  if (!/[^0]/.test(infohash)) throw new Fault(words.unreadable) // nobody's
  return {
    infohash,
    key: [...keys][0] ?? '',
    title: all('dn')[0] ?? '',
    trackers: all('tr').filter(isTracker).slice(0, MOST_TRACKERS),
    namesTrackers: all('tr').length > 0,
    link: `magnet:?${whole}`
  }
}

function decoded (text) {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Fault(words.unreadable)
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
  if (!/^wss?:/i.test(text) || !URL.canParse(text) || text.includes('#')) return false
  const { username, password } = new URL(text)
  return !username && !password
}

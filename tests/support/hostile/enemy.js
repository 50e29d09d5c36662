// A hostile peer in a browser: it meets others by a WebSocket tracker, and then sends over WebRTC what nobody should.
const random = length => crypto.getRandomValues(new Uint8Array(length))
const text = bytes => String.fromCharCode(...bytes)
const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))
const joined = (...parts) => new Uint8Array(parts.flatMap(part => [...part]))
const ascii = string => Uint8Array.from(string, sign => sign.charCodeAt(0))
const PROTOCOL = joined([19], ascii('BitTorrent protocol'), [0, 0, 0, 0, 0, 0x10, 0, 0]) // BEP 3 and, extended, BEP 10
const MESSAGE = 16384 // bytes of one message on the channel

const message = (...parts) => { // of BEP 3: its length stands before it
  const body = joined(...parts)
  return joined(new Uint8Array(new Uint32Array([body.length]).buffer).reverse(), body)
}

const LONGEST = 3000 // milliseconds that somebody may be kept waiting by who takes nothing more

async function send (channel, bytes, size = MESSAGE) {
  const end = performance.now() + LONGEST
  for (let at = 0; at < bytes.length; at += size) {
    while (channel.bufferedAmount > 1e6 && channel.readyState === 'open' && performance.now() < end) await pause(5)
    if (channel.readyState !== 'open' || performance.now() > end) return
    channel.send(bytes.slice(at, at + size))
  }
}

async function flood (channel, bytes, seconds) {
  const end = performance.now() + seconds * 1000
  while (performance.now() < end && channel.readyState === 'open') await send(channel, bytes)
}

const attacks = {
  garbage: async channel => { for (let i = 0; i < 16; i++) await send(channel, random(65536)) },
  text: async channel => { for (let i = 0; i < 100 && channel.readyState === 'open'; i++) channel.send('\u0000not bytes\uffff') },
  empty: async channel => { for (let i = 0; i < 1000 && channel.readyState === 'open'; i++) channel.send(new Uint8Array(0)) },
  large: channel => send(channel, new Uint8Array(1e6), 262144),
  silence: async () => {},
  'another swarm': channel => send(channel, joined(PROTOCOL, random(40))),
  'a message of 4 GB': async (channel, handshake) => {
    await send(channel, joined(handshake, [255, 255, 255, 255, 7]))
    await flood(channel, new Uint8Array(65536), 1)
  },
  'nested extensions': async (channel, handshake) => {
    await send(channel, joined(handshake, message([20, 0], new Uint8Array(900000).fill(108))))
  },
  'a size of metadata': async (channel, handshake) => { // BEP 9
    for (const size of ['2147483647', '-1', '18446744073709551716']) {
      await send(channel, joined(handshake, message([20, 0], ascii(`d1:md11:ut_metadatai2ee13:metadata_sizei${size}ee`))))
    }
  },
  requests: async (channel, handshake) => {
    await send(channel, joined(handshake, message([2])))
    const request = message([6], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0])
    await flood(channel, joined(...Array(500).fill(request)), 1)
  },
  'what nobody asked for': async (channel, handshake) => {
    await send(channel, handshake)
    await flood(channel, message([7], random(8), new Uint8Array(MESSAGE)), 1)
  },
  'hanging up': async channel => { channel.close() }
}

async function meet (connection) { // all candidates in one description, as WebTorrent does it
  const all = new Promise(resolve => {
    connection.onicegatheringstatechange = () => connection.iceGatheringState === 'complete' && resolve()
  })
  await connection.setLocalDescription()
  await all
  return connection.localDescription.toJSON()
}

window.enemy = {
  names: Object.keys(attacks),
  made: {}, // how often each attack came to its channel
  left: 0, // how many of them are not over yet
  ends: [],

  // Make an attack on whoever is in the swarm, offered and answered, each time over a connection of its own.
  attack (name, tracker, infohash) {
    const info = Uint8Array.from(infohash.match(/../g), digits => parseInt(digits, 16))
    const id = random(20)
    const handshake = joined(PROTOCOL, info, id)
    const head = { action: 'announce', info_hash: text(info), peer_id: text(id) }
    const offers = {}
    const connect = () => {
      const connection = new RTCPeerConnection()
      this.ends.push(connection)
      return connection
    }
    const use = channel => {
      channel.onopen = async () => {
        this.made[name] = (this.made[name] ?? 0) + 1
        this.left++
        try { await attacks[name](channel, handshake) } finally { this.left-- }
      }
    }
    const socket = new WebSocket(tracker)
    this.ends.push(socket)
    socket.onopen = async () => {
      const made = []
      for (let i = 0; i < 3; i++) {
        const connection = connect()
        use(connection.createDataChannel('any'))
        const offer_id = text(random(20))
        offers[offer_id] = connection
        made.push({ offer_id, offer: await meet(connection) })
      }
      socket.send(JSON.stringify({ ...head, event: 'started', left: 1, numwant: made.length, offers: made }))
    }
    socket.onmessage = async ({ data }) => {
      const said = JSON.parse(data)
      if (said.answer) await offers[said.offer_id]?.setRemoteDescription(said.answer)
      if (said.offer) {
        const connection = connect()
        connection.ondatachannel = ({ channel }) => use(channel)
        await connection.setRemoteDescription(said.offer)
        const answer = await meet(connection)
        socket.send(JSON.stringify({ ...head, to_peer_id: said.peer_id, offer_id: said.offer_id, answer }))
      }
    }
  },

  over (name) {
    return this.made[name] > 0 && this.left === 0
  },

  leave () {
    for (const end of this.ends.splice(0)) end.close()
  }
}

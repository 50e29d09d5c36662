
// A page that came by plain http has no crypto.subtle, but its pieces have to be checked: SHA-1 (FIPS 180-4).

function sha1 (data) {
  const blocks = new Uint8Array((data.length + 72 >> 6) << 6)
  blocks.set(data)
  blocks[data.length] = 0x80
  const view = new DataView(blocks.buffer)
  view.setUint32(blocks.length - 8, data.length / 0x20000000)
  view.setUint32(blocks.length - 4, data.length << 3)
  const words = new Int32Array(80)
  let [h0, h1, h2, h3, h4] = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0].map(word => word | 0)
  for (let at = 0; at < blocks.length; at += 64) {
    for (let i = 0; i < 80; i++) {
      if (i < 16) words[i] = view.getInt32(at + 4 * i)
      else {
        const word = words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16]
        words[i] = word << 1 | word >>> 31
      }
    }
    let [a, b, c, d, e] = [h0, h1, h2, h3, h4]
    for (let i = 0; i < 80; i++) {
      const mix = i < 20
        ? (b & c | ~b & d) + 0x5a827999
        : i < 40
          ? (b ^ c ^ d) + 0x6ed9eba1
          : i < 60
            ? (b & c | b & d | c & d) - 0x70e44324
            : (b ^ c ^ d) - 0x359d3e2a
      const next = (a << 5 | a >>> 27) + mix + e + words[i] | 0
      e = d; d = c; c = b << 30 | b >>> 2; b = a; a = next
    }
    h0 = h0 + a | 0; h1 = h1 + b | 0; h2 = h2 + c | 0; h3 = h3 + d | 0; h4 = h4 + e | 0
  }
  const digest = new DataView(new ArrayBuffer(20))
  for (const [i, word] of [h0, h1, h2, h3, h4].entries()) digest.setInt32(4 * i, word)
  return digest.buffer
}

if (!crypto.subtle) {
  const digest = async (_name, data) => sha1(new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength))
  Object.defineProperty(crypto, 'subtle', { value: { digest } })
}


// Where the pieces are kept: WebTorrent's own store needs a file system that a page from a file does not have. A Blob
// is in the browser's memory, or on its disk when there are many.

class Store {
  #pieces

  constructor (chunkLength, pieces) {
    this.chunkLength = chunkLength
    this.#pieces = pieces
  }

  put (index, data, done = () => {}) {
    this.#pieces[index] = new Blob([data])
    queueMicrotask(() => done(null))
  }

  get (index, options, done) {
    if (typeof options === 'function') [options, done] = [null, options]
    const piece = this.#pieces[index]
    if (!piece) return queueMicrotask(() => done(new Error('this piece is not here')))
    const { offset = 0, length = piece.size - offset } = options ?? {}
    piece.slice(offset, offset + length).arrayBuffer().then(data => done(null, new Uint8Array(data)), done)
  }

  close (done = () => {}) { done(null) }

  destroy (done = () => {}) { done(null) }
}

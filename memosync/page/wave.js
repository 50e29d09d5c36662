
// The waveform: what was played, what is here, and what is still missing.

class Wave {
  #canvas
  #heights = [] // of a hundred
  #all = 1 // how many there will be
  #drawn = ''

  constructor (canvas) {
    this.#canvas = canvas
  }

  take (heights, all) {
    this.#heights = heights
    this.#all = Math.max(1, all)
    this.#drawn = ''
  }

  // `played` is a part of 1, `isHere` is asked for parts of 1. Nothing is drawn twice.
  draw (played, isHere) {
    const canvas = this.#canvas
    const { width, height } = canvas.getBoundingClientRect()
    const ratio = globalThis.devicePixelRatio || 1
    const bars = Math.max(1, Math.floor((width + 2) / 5))
    const style = getComputedStyle(canvas)
    const [accent, loaded, missing] = ['--accent', '--loaded', '--missing'].map(name => style.getPropertyValue(name))
    const kinds = Array.from({ length: bars }, (_, i) => isHere((i + 0.5) / bars) ? loaded : missing)
    const state = [width, height, ratio, Math.round(played * bars * 6), ...kinds, accent].join()
    if (state === this.#drawn) return
    this.#drawn = state
    canvas.width = Math.round(width * ratio)
    canvas.height = Math.round(height * ratio)
    const pen = canvas.getContext('2d')
    pen.scale(ratio, ratio)
    for (let i = 0; i < bars; i++) {
      const tall = Math.max(3, this.#mean(i / bars, (i + 1) / bars) / 100 * height)
      const at = i * width / bars
      const part = Math.min(1, Math.max(0, played * bars - i)) * 3
      this.#bar(pen, kinds[i], at, 3, tall, height)
      if (part > 0) this.#bar(pen, accent, at, part, tall, height)
    }
  }

  #bar (pen, colour, at, wide, tall, height) {
    pen.save()
    pen.beginPath()
    pen.rect(at, 0, wide, height)
    pen.clip()
    pen.fillStyle = colour
    pen.beginPath()
    if (pen.roundRect) pen.roundRect(at, (height - tall) / 2, 3, tall, 1.5)
    else pen.rect(at, (height - tall) / 2, 3, tall)
    pen.fill()
    pen.restore()
  }

  #mean (begin, end) {
    const first = Math.floor(begin * this.#all)
    const last = Math.max(first + 1, Math.floor(end * this.#all))
    return this.#heights.slice(first, last).reduce((sum, height) => sum + height, 0) / (last - first)
  }
}

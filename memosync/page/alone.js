
// WebTorrent's build empties a directory of the page's origin as it loads, whosever it is, and fails in a page from a
// file, which has none. What the page keeps it keeps in `store.js`.
Object.defineProperty(navigator, 'storage', { value: undefined })

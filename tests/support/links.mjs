// Read links as the page that opens any does: a line of JSON in, a text; one out, its links, or null for a Fault.
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { createInterface } from 'node:readline'
import vm from 'node:vm'

const scripts = ['state.js', 'links.js'].map(name => readFileSync(`${process.argv[2]}/${name}`, 'utf8')).join('\n')
const page = vm.createContext({ URL, URLSearchParams, btoa, words: {} })
vm.runInContext(scripts, page)

for await (const line of createInterface({ input: process.stdin })) {
  page.pasted = JSON.parse(line)
  console.log(vm.runInContext(
    'try { JSON.stringify(linksIn(pasted)) } catch (error) { if (!(error instanceof Fault)) throw error; null }',
    page,
    { timeout: 5000 }
  ))
}

/**
 * The well-behaved tenant's clients: requests at a constant rate on connections that stay open, every answer compared byte
 * for byte. Latency counts from when a request was due, so that a stall is not measured by one request alone. Arguments:
 * port, requests a second. Each line on standard input ends a period; its figures are printed as one line of JSON.
 */
import { Agent, request } from 'node:http'
import { createInterface } from 'node:readline'

const [port, rate] = process.argv.slice(2).map(Number) as [number, number]
const agent = new Agent({ keepAlive: true, maxSockets: 64, maxFreeSockets: 64 })

interface Period {
  sent: number
  answered: number
  /** Sent again, after a connection that had been idle was closed by the host: HTTP allows that at any time. */
  again: number
  wrong: string[]
  latencies: number[]
}

let period = newPeriod()
let count = 0

function newPeriod(): Period {
  return { sent: 0, answered: 0, again: 0, wrong: [], latencies: [] }
}

function ask(due: number, of: Period, id: number, isAgain: boolean): void {
  const expected = `victim ${id}`
  const sent = request({
    host: '127.0.0.1',
    port,
    agent,
    path: `/${id}`,
    headers: { host: 'victim.localhost' },
  })
  let over = false
  const end = (problem: string) => {
    if (over) return
    over = true
    of.latencies.push(performance.now() - due)
    if (problem === '') of.answered++
    else of.wrong.push(`${new Date().toISOString()} ${problem}`)
  }
  const patience = setTimeout(() => {
    end('no answer within 20 s')
    sent.destroy()
  }, 20_000)
  sent.on('error', (error: NodeJS.ErrnoException) => {
    clearTimeout(patience)
    if (over) return
    if (sent.reusedSocket && !isAgain && (error.code === 'ECONNRESET' || error.code === 'EPIPE')) {
      over = true
      of.again++
      ask(due, of, id, true)
      return
    }
    end(`${error.code ?? error.message} on a ${sent.reusedSocket ? 'kept' : 'new'} connection`)
  })
  sent.on('response', (response) => {
    let text = ''
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => (text += chunk))
    response.on('error', () => end('the answer was cut'))
    response.on('end', () => {
      clearTimeout(patience)
      const good = response.statusCode === 200 && text === expected && response.headers['x-victim'] === 'yes'
      end(good ? '' : `${response.statusCode} ${response.headers['skep-error'] ?? ''} ${JSON.stringify(text.slice(0, 100))}`)
    })
  })
  sent.end()
  if (!isAgain) of.sent++
}

const began = performance.now()
let due = 0
setInterval(() => {
  const now = performance.now() - began
  for (; due <= now; due += 1000 / rate) ask(began + due, period, ++count, false)
}, 2)

createInterface({ input: process.stdin }).on('line', () => void report())
console.log('ready')

async function report(): Promise<void> {
  const ended = period
  period = newPeriod()
  while (ended.latencies.length < ended.sent) await new Promise((resolve) => setTimeout(resolve, 10))
  const { sent, answered, again, wrong, latencies } = ended
  latencies.sort((a, b) => a - b)
  const at = (q: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * q))] ?? 0
  const figures = { sent, answered, again, wrong: wrong.slice(0, 20), p50: at(0.5), p99: at(0.99), max: at(1) }
  console.log(JSON.stringify(figures))
}

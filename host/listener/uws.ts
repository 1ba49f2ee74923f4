/** The listener over uWebSockets.js. What it cannot do as node:http does is in README.md. */
import { beginScan, headOf, type RequestHead, scanField } from './_head.ts'
import { reasonPhrase } from './_headers.ts'
import { Drainage } from './_drainage.ts'
import { CLIENT_LIMITS, DEFAULT_GRACE_MS } from './_limits.ts'
import { bindingError, checkPort } from './_ports.ts'
import { quietTurn, turn } from './_turns.ts'
import type { Uws, UwsApp, UwsListenSocket, UwsRequest, UwsResponse } from './_uws-api.ts'
import { UwsExchange, type UwsTraffic } from './_uws-exchange.ts'
import type { Listener, ListenOptions } from './listener.ts'

export async function listenUws(uws: Uws, options: ListenOptions): Promise<Listener> {
  const app = uws.App()
  const { idleMs } = options.limits ?? CLIENT_LIMITS
  app.setIdleTimeout(Math.ceil(idleMs / 1000))
  app.setResponseTimeout(Math.ceil(idleMs / 1000))
  const listener = new UwsListener(uws, app, options)
  const binding = { port: options.port, address: options.address ?? '0.0.0.0', shared: options.shared ?? false }
  if (!listener.bind(binding.address, binding.port, binding.shared)) {
    // uWebSockets does not say why. When the port turns out to be free it was let go this moment.
    await checkPort(binding)
    if (!listener.bind(binding.address, binding.port, binding.shared)) throw bindingError(binding, undefined)
  }
  return listener
}

class UwsListener implements Listener {
  readonly kind = 'uws'
  port = 0
  #uws: Uws
  #app: UwsApp
  #socket: UwsListenSocket | undefined
  #handler: ListenOptions['handler']
  #connections = 0
  #lastOpened = 0
  #closing: Promise<void> | undefined
  readonly #drainage = new Drainage()
  #traffic: UwsTraffic = {
    draining: false,
    inFlight: 0,
    lingering: false,
    settled: () => this.#drainage.changed(),
  }
  #spare: UwsResponse | undefined

  constructor(uws: Uws, app: UwsApp, options: ListenOptions) {
    this.#uws = uws
    this.#app = app
    this.#handler = options.handler
    const { maxConnections } = options.limits ?? CLIENT_LIMITS
    const answer = (res: UwsResponse, req: UwsRequest): void => this.#request(res, req)
    // A route that passes gives a second object for the same connection; see UwsExchange. For a request that expects
    // `100 Continue`, uWebSockets would send it once for each route.
    const spare = (res: UwsResponse, req: UwsRequest): void => {
      if (req.getHeader('expect') !== '') return this.#request(res, req)
      this.#spare = res
      req.setYield(true)
    }
    app.post('/*', spare).put('/*', spare).patch('/*', spare).del('/*', spare).any('/*', answer)
    app.filter((res, change) => {
      this.#connections += change
      if (change > 0) {
        this.#lastOpened = performance.now()
        if (this.#connections > maxConnections) {
          res.close()
          options.refused?.()
        }
      } else if (this.#connections === 0) this.#drainage.changed()
    })
  }

  bind(address: string, port: number, shared: boolean): boolean {
    this.#app.listen(address, port, shared ? 0 : this.#uws.LIBUS_LISTEN_EXCLUSIVE_PORT, (socket) => {
      if (socket === false) return
      this.#socket = socket
      this.port = this.#uws.us_socket_local_port(socket)
    })
    return this.#socket !== undefined
  }

  #request(res: UwsResponse, req: UwsRequest): void {
    const spare = this.#spare
    this.#spare = undefined
    const head = readHead(req)
    if (head === undefined) return this.#refuse(res)
    const exchange = new UwsExchange(this.#traffic, res, head, spare)
    try {
      this.#handler(exchange)
    } catch (error) {
      console.error('skep: a request handler threw', error)
      exchange.respond(500, ['skep-error', 'internal'], reasonPhrase(500))
    }
    exchange.handlerReturned()
  }

  /**
   * Answers later, never in the handler: what follows in the same packet may be the body of a request that was not
   * understood, and uWebSockets goes on to parse it as requests as soon as there is an answer. While there is none it
   * cuts the connection instead.
   */
  #refuse(res: UwsResponse): void {
    const traffic = this.#traffic
    let open = true
    const done = (): void => {
      open = false
      if (--traffic.inFlight === 0) traffic.settled()
    }
    traffic.inFlight++
    res.onAborted(done)
    setImmediate(() => {
      if (!open) return
      done()
      res.cork(() => {
        res.writeStatus('400 Bad Request\r\nskep-error: bad_request')
        res.end('Bad Request', true)
      })
    })
  }

  close(graceMs = DEFAULT_GRACE_MS): Promise<void> {
    return (this.#closing ??= this.#drain(graceMs))
  }

  async #drain(graceMs: number): Promise<void> {
    this.#traffic.draining = true
    await quietTurn()
    if (this.#socket !== undefined) this.#uws.us_listen_socket_close(this.#socket)
    this.#socket = undefined
    await this.#drainage.run(graceMs, {
      connections: () => this.#connections,
      busy: () => this.#traffic.inFlight > 0 || this.#traffic.lingering,
      lastOpened: () => this.#lastOpened,
    })
    this.#app.close()
    await turn()
  }
}

function readHead(req: UwsRequest): RequestHead | undefined {
  beginScan()
  req.forEach(scanField)
  const query = req.getQuery()
  return headOf(req.getCaseSensitiveMethod(), query === undefined ? req.getUrl() : `${req.getUrl()}?${query}`, false)
}

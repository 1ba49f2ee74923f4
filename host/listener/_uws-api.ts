/** The part of uWebSockets.js that the adapter uses, including what its own index.d.ts leaves out. */
export interface Uws {
  App(): UwsApp
  us_listen_socket_close(socket: UwsListenSocket): void
  us_socket_local_port(socket: UwsListenSocket): number
  LIBUS_LISTEN_EXCLUSIVE_PORT: number
  _cfg(key: string): void
}

export type UwsListenSocket = { readonly brand: 'us_listen_socket' }
export type UwsHandler = (res: UwsResponse, req: UwsRequest) => void

export interface UwsApp {
  any(pattern: string, handler: UwsHandler): UwsApp
  post(pattern: string, handler: UwsHandler): UwsApp
  put(pattern: string, handler: UwsHandler): UwsApp
  patch(pattern: string, handler: UwsHandler): UwsApp
  del(pattern: string, handler: UwsHandler): UwsApp
  /** Called with +1 and -1 as connections come and go. */
  filter(handler: (res: UwsResponse, change: number) => void): UwsApp
  listen(host: string, port: number, options: number, done: (socket: UwsListenSocket | false) => void): UwsApp
  /** Seconds; the republisher's own additions, as upstream has 10 compiled in. For connections that make no progress. */
  setIdleTimeout(seconds: number): void
  /** Seconds; for clients that do not take their answer. A handler may take as long as it likes. */
  setResponseTimeout(seconds: number): void
  /** Closes every socket at once, the listening one too. */
  close(): UwsApp
}

/** Valid only while the handler runs. */
export interface UwsRequest {
  getCaseSensitiveMethod(): string
  getUrl(): string
  /** Undefined without a `?`. */
  getQuery(): string | undefined
  getHeader(lowerCaseName: string): string
  forEach(visit: (name: string, value: string) => void): void
  setYield(yes: boolean): void
}

/** Throws when it is used after an answer or an abort. */
export interface UwsResponse {
  cork(run: () => void): void
  writeStatus(status: string | Uint8Array): void
  write(chunk: string | Uint8Array): boolean
  end(body?: string | Uint8Array, close?: boolean): void
  endWithoutBody(length?: number, close?: boolean): void
  tryEnd(rest: Uint8Array, total: number): [accepted: boolean, answered: boolean]
  getWriteOffset(): number
  onWritable(handler: (offset: number) => boolean): void
  onAborted(handler: () => void): void
  onData(handler: (chunk: ArrayBuffer, last: boolean) => void): void
  getRemoteAddress(): ArrayBuffer
  pause(): void
  resume(): void
  close(): void
}

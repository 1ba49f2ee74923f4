/** Something that is measured: a server that answers like the others of its scenario. */
export interface Target {
  name: string
  start(): Promise<Running>
}

export interface Running {
  port: number
  /** The process whose tree is the server. */
  pid: number
  stop(): Promise<void>
}

export const HELLO = {
  host: 'hello.localhost',
  body: 'Hello, world!\n',
  contentType: 'text/plain; charset=utf-8',
}

/** The core of the server, and that of the load. */
export const SERVER_CORE = 0
export const LOAD_CORE = 1

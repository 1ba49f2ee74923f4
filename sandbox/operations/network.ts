import type { Socket } from 'node:net'
import { buildConnector } from 'undici'
import type { Dial } from './connect.ts'
import { EgressRules } from './egress.ts'
import type { Egress, Reach } from './egress.ts'
import { Lookups, systemResolve } from './lookup.ts'
import type { Resolve } from './lookup.ts'

/** Sockets of one tenant in one process, those that are kept for later included. */
const MOST_SOCKETS = 1_024
/** Memory of one tenant's unpacking in one process, bytes: a window of brotli is 16 MB large. */
const MOST_WINDOWS = 536_870_912

/** What is outside of a process, for the sandboxes in it: each tenant has its own share of it. */
export class Network {
  readonly #rules: EgressRules
  readonly #tenants = new Map<string, TenantNetwork>()
  readonly #parts: { resolve: Resolve; dial: Dial }

  /** Throws `invalid_config` for lists that mean nothing. */
  constructor(egress: Egress, parts: Partial<{ rules: EgressRules; resolve: Resolve; dial: Dial }> = {}) {
    this.#rules = parts.rules ?? new EgressRules(egress)
    this.#parts = { resolve: parts.resolve ?? systemResolve, dial: parts.dial ?? buildConnector }
  }

  /** For a new sandbox of the tenant's, until it says `leave`. */
  enter(tenant: string, lists: Egress): TenantNetwork {
    const reach = this.#rules.forTenant(lists)
    // The lists are the tenant's: they are part of the key only because nobody else says that they stay the same.
    const key = `${tenant} ${JSON.stringify([lists.allow, lists.deny])}`
    let network = this.#tenants.get(key)
    if (network === undefined) {
      network = new TenantNetwork(reach, this.#parts, () => this.#tenants.delete(key))
      this.#tenants.set(key, network)
    }
    network.sandboxes++
    return network
  }

  get tenants(): number {
    return this.#tenants.size
  }
}

/** One tenant's share: what all of its sandboxes in a process use up together. */
export class TenantNetwork {
  readonly reach: Reach
  readonly lookups: Lookups
  readonly dial: Dial
  sandboxes = 0
  #sockets = 0
  #windows = 0
  readonly #empty: () => void

  constructor(reach: Reach, parts: { resolve: Resolve; dial: Dial }, empty: () => void) {
    this.reach = reach
    this.lookups = new Lookups(parts.resolve)
    this.dial = parts.dial
    this.#empty = empty
  }

  leave(): void {
    if (--this.sandboxes === 0) this.#empty()
  }

  get sockets(): number {
    return this.#sockets
  }

  get windows(): number {
    return this.#windows
  }

  mayConnect(): boolean {
    return this.#sockets < MOST_SOCKETS
  }

  connected(socket: Socket | undefined): void {
    if (socket === undefined) return
    this.#sockets++
    socket.once('close', () => this.#sockets--)
  }

  /** Memory for unpacking an answer, to be given back; false when the tenant has all that it may have. */
  takeWindow(bytes: number): boolean {
    if (this.#windows + bytes > MOST_WINDOWS) return false
    this.#windows += bytes
    return true
  }

  returnWindow(bytes: number): void {
    this.#windows -= bytes
  }
}

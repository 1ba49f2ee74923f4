/** Bytes that no well-behaved client sends, over HTTP/1.1. Where uWebSockets and node:http differ, both are pinned. */
import { after, before, describe } from 'node:test'
import { earlyCases } from './listener/early.ts'
import { FRAMING } from './listener/framing.ts'
import { FIELDS, HOSTS, REQUEST_LINES } from './listener/heads.ts'
import { rawCases } from './listener/raw.ts'
import { Stage, whyNot } from './listener/stage.ts'

for (const carrier of ['uws', 'node', 'tls'] as const) {
  describe(`${carrier} listener`, { skip: whyNot(carrier), concurrency: false, timeout: 120_000 }, () => {
    const stage = new Stage(carrier)
    before(() => stage.begin())
    after(() => stage.finish())
    describe('framing', () => rawCases(stage, FRAMING))
    describe('request lines', () => rawCases(stage, REQUEST_LINES))
    describe('hosts', () => rawCases(stage, HOSTS))
    describe('fields', () => rawCases(stage, FIELDS))
    describe('early ends', () => earlyCases(stage))
  })
}

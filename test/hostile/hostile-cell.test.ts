/** The attack corpus in cells: what uses up memory, and what nothing can stop. */
import { test } from 'node:test'
import { campaign } from './judge.ts'

test('attacks on memory and processes, in cells', { timeout: 175_000 }, (t) => campaign(t, 'cell', ['memory', 'uninterruptible']))

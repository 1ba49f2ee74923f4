/** The attack corpus inline: attackers and victim share processes, which are replaced when one of them is lost. */
import { test } from 'node:test'
import { campaign } from './judge.ts'

test('attacks on CPU time and processes, inline', { timeout: 175_000 }, (t) => campaign(t, 'inline', ['cpu', 'uninterruptible']))

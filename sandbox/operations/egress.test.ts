import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { suite, test } from 'node:test'
import { FORBIDDEN_ADDRESSES, PUBLIC_ADDRESSES } from '../../test/sandbox/forbidden-urls.ts'
import { EgressRules } from './egress.ts'
import type { Egress } from './egress.ts'
import { egressMistake } from './egress-entry.ts'

const NONE = { allow: [], deny: [] }
const reach = (host: Partial<Egress>, tenant: Partial<Egress> = {}) =>
  new EgressRules({ ...NONE, ...host }).forTenant({ ...NONE, ...tenant })
const may =
  (rules: ReturnType<typeof reach>) =>
  (address: string, port: number, name = address) =>
    rules.refusal(address, port, name) === ''

suite('addresses that functions may reach', () => {
  test('public ones, next to the special ranges', () => {
    for (const address of PUBLIC_ADDRESSES) assert.ok(may(reach({}))(address, 80), address)
  })

  test('none of the special ranges, from the first address to the last', () => {
    assert.ok(FORBIDDEN_ADDRESSES.length > 85)
    for (const address of FORBIDDEN_ADDRESSES) assert.ok(!may(reach({}))(address, 80), address)
    for (const address of ['fe80::1%eth0', '::ffff:127.0.0.1', '::FFFF:7F00:1', '::ffff:7f00:1%lo', '2606:4700::5efe:a00:1'])
      assert.ok(!may(reach({}))(address, 80), address)
    assert.ok(may(reach({}))('::ffff:8.8.8.8', 80), 'a public address in IPv6 is dialled as what it is')
  })

  test('a public IPv4 address by NAT64 is judged as that address', () => {
    assert.ok(may(reach({}))('64:ff9b::8.8.8.8', 80))
    assert.ok(!may(reach({ deny: ['8.8.8.8'] }))('64:ff9b::808:808', 80))
    for (const address of ['64:ff9b::10.0.0.1', '64:ff9b::a9fe:a9fe', '64:ff9b:1::808:808', '64:ff9b::1:808:808'])
      assert.ok(!may(reach({ allow: ['10.0.0.1'] }))(address, 80), address)
  })

  test("not this machine's own, which come and go", () => {
    for (const list of Object.values(networkInterfaces()))
      for (const { address } of list ?? []) assert.ok(!may(reach({}))(address, 80), address)
    let now = 0
    let own = ['93.184.216.34']
    const interfaces = () => ({ eth0: own.map((address) => ({ address })) }) as unknown as ReturnType<typeof networkInterfaces>
    const rules = new EgressRules(NONE, { interfaces, now: () => now }).forTenant(NONE)
    assert.deepEqual([may(rules)('93.184.216.34', 80), may(rules)('2606:4700::9', 80)], [false, true])
    own = ['2606:4700::9']
    now = 1_000
    assert.deepEqual([may(rules)('93.184.216.34', 80), may(rules)('2606:4700::9', 80)], [true, false])
  })

  test("the host's own ports stay closed where only the address is allowed", () => {
    const rules = reach({ allow: ['127.0.0.0/8', 'localhost', '::1'], ownPorts: [8080, 8081] })
    assert.ok(may(rules)('127.0.0.1', 9000))
    assert.ok(!may(rules)('127.0.0.1', 8081))
    assert.ok(!may(rules)('::1', 8081, 'localhost'))
    assert.ok(!may(rules)('::ffff:127.0.0.1', 8080))
    assert.match(rules.refusal('127.9.9.9', 8081, 'x'), /this host itself/)
    assert.ok(may(rules)('8.8.8.8', 8081), 'elsewhere they are ports like others')
    const named = reach({ allow: ['127.0.0.0/8', '127.0.0.1:8080'], ownPorts: [8080, 8081] })
    assert.deepEqual([may(named)('127.0.0.1', 8080), may(named)('127.0.0.1', 8081)], [true, false])
  })

  test('what is allowed by address, network, name and port', () => {
    const open = may(
      reach({ allow: ['127.0.0.1:9000', '10.1.0.0/16', 'db.internal:5432', 'Cache', '[fd00::1]:80', 'fd01::/16'] }),
    )
    assert.ok(open('127.0.0.1', 9000))
    assert.ok(open('::ffff:127.0.0.1', 9000))
    assert.ok(open('::ffff:7f00:1', 9000))
    assert.ok(!open('127.0.0.1', 9001))
    assert.ok(!open('127.0.0.2', 9000))
    assert.ok(open('10.1.255.1', 80))
    assert.ok(!open('10.2.0.1', 80))
    assert.ok(open('192.168.0.9', 5432, 'DB.internal'))
    assert.ok(open('192.168.0.9', 5432, 'db.internal.'))
    assert.ok(!open('192.168.0.9', 5433, 'db.internal'))
    assert.ok(open('192.168.0.9', 80, 'cache'))
    assert.ok(!open('192.168.0.9', 80, 'cache.example'))
    assert.ok(open('fd00::1', 80))
    assert.ok(!open('fd00::1', 81))
    assert.ok(open('fd01:2::3', 81))
  })

  test('a wildcard opens private networks, and nothing of this machine or its link', () => {
    const rules = reach({ allow: ['*.corp.example'] })
    const open = may(rules)
    assert.ok(open('10.1.2.3', 80, 'a.corp.example'))
    assert.ok(open('fd12::1', 80, 'a.b.corp.example'))
    assert.ok(!open('10.1.2.3', 80, 'corp.example'))
    assert.ok(!open('10.1.2.3', 80, 'evilcorp.example'))
    for (const address of [
      '127.0.0.1',
      '::1',
      '169.254.169.254',
      'fe80::1',
      '0.0.0.0',
      '100.100.100.200',
      'fd00:ec2::254',
      '192.0.2.1',
    ])
      assert.ok(!open(address, 80, 'a.corp.example'), address)
    assert.notEqual(reach({ deny: ['*.example.com'] }).refusal('1.2.3.4', 80, 'A.Example.Com.'), '')
    assert.equal(reach({ deny: ['*.example.com'] }).refusal('1.2.3.4', 80, 'example.com'), '')
  })

  test('what is denied, also where it is allowed as well, and by its name with a dot', () => {
    const rules = reach({ allow: ['10.0.0.0/8'], deny: ['10.0.0.5', 'evil.example', '93.184.216.0/24:443'] })
    assert.ok(may(rules)('10.0.0.6', 80))
    assert.ok(!may(rules)('10.0.0.5', 80))
    assert.notEqual(rules.refusal('1.2.3.4', 80, 'evil.example'), '')
    assert.notEqual(rules.refusal('1.2.3.4', 80, 'Evil.Example.'), '')
    assert.notEqual(rules.refusesName('Evil.Example.', 80), '')
    assert.notEqual(rules.refusal('93.184.216.34', 443, 'x'), '')
    assert.equal(rules.refusal('93.184.216.34', 80, 'x'), '')
  })

  test("the host's deny wins, then the tenant's; the tenant's allow is for that tenant", () => {
    const rules = new EgressRules({ allow: ['10.0.0.0/8'], deny: ['10.0.0.1', '192.168.0.1'] })
    const acme = may(rules.forTenant({ allow: ['10.0.0.1', '192.168.0.0/16'], deny: ['10.0.0.2', '8.8.8.8'] }))
    const other = may(rules.forTenant(NONE))
    const matrix = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '192.168.0.1', '192.168.0.2', '8.8.8.8', '1.1.1.1']
    assert.deepEqual(
      matrix.map((address) => [acme(address, 80), other(address, 80)]),
      [
        [false, false],
        [false, true],
        [true, true],
        [false, false],
        [true, false],
        [false, true],
        [true, true],
      ],
    )
    assert.equal(rules.forTenant({ allow: [], deny: [] }), rules.forTenant(NONE), 'compiled once')
  })

  test('ports of other protocols are closed, unless an entry names the port', () => {
    for (const port of [22, 25, 53, 110, 143, 465, 6000, 6667])
      assert.match(reach({}).refusal('8.8.8.8', port, 'x'), /not for HTTP/)
    assert.ok(!may(reach({ allow: ['10.0.0.0/8'] }))('10.0.0.1', 25))
    assert.ok(may(reach({ allow: ['10.0.0.1:25'] }))('10.0.0.1', 25))
  })

  test('entries that mean nothing are refused, by name; those that mean something are not', () => {
    for (const entry of [
      ...[
        '',
        ' ',
        'a b',
        '10.0.0.0/33',
        '10.0.0.0/x',
        '10.0.0.0/8/8',
        '10.0.0.0/',
        '10.0.0.1:99999',
        '10.0.0.1:0',
        '[::1',
        'http://a',
        'a/b',
      ],
      ...[
        '::1/129',
        'x:y',
        '127.1',
        '0x7f.1',
        '2130706433',
        '256.0.0.1',
        '10.0.0',
        'a..b',
        '.a',
        '*',
        '*.',
        '*.*.a',
        'a.*',
        '-a',
        'a,b',
      ],
      ...[
        'fe80::1%eth0',
        '[10.0.0.1',
        '::1:',
        'a:',
        ':80',
        'http://10.0.0.1:80',
        'user@host',
        'a\u0000',
        `${'a'.repeat(64)}.example`,
        '*.1',
      ],
    ]) {
      assert.notEqual(egressMistake(entry), '', entry)
      assert.throws(() => reach({ allow: [entry] }), { code: 'invalid_config' }, entry)
      assert.throws(
        () => reach({}, { deny: [entry] }),
        (error: Error) => error.message.startsWith(JSON.stringify(entry)),
        entry,
      )
    }
    for (const entry of [
      '10.0.0.1',
      '10.0.0.0/8:80',
      '::1',
      '[::1]:80',
      'fd00::/8',
      'a',
      'a-b.c_d',
      '*.a',
      '*.a:8080',
      'bücher.example',
      '1a.example',
    ])
      assert.equal(egressMistake(entry), '', entry)
  })
})

import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { pino } from 'pino'
import { MemoryGroups } from './memory-cgroup.ts'
import { FakeCgroups } from './test-support/cgroups.ts'
import { FakeClock } from './test-support/clock.ts'

const MB = 1_048_576
const V1 = '/sys/fs/cgroup/memory/machine/one'
const V2 = '/sys/fs/cgroup/system.slice/skep.service'

function version1(options: { pid?: number; neighbours?: number[] } = {}) {
  const system = new FakeCgroups(1, { root: V1, ...options })
  system.files.set('/proc/self/cgroup', '7:pids:/other\n4:cpu,memory:/machine/one\n0::/\n')
  system.files.set(
    '/proc/self/mountinfo',
    `35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,cpu,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
`,
  )
  return system
}

function version2(options: { controllers?: string; neighbours?: number[] } = {}) {
  const system = new FakeCgroups(2, { root: V2, ...options })
  system.files.set('/proc/self/cgroup', '0::/system.slice/skep.service\n')
  system.files.set('/proc/self/mountinfo', '30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n')
  return system
}

function open(system: FakeCgroups) {
  const lines: { level: number; msg: string; why?: string; folder?: string }[] = []
  const log = pino({ level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line)) })
  const clock = new FakeClock()
  const groups = MemoryGroups.open(1_000 * MB, { log, system, clock })
  return { groups, lines, clock, log, why: lines[0]?.why ?? '' }
}

const names = (system: FakeCgroups, folder: string) => system.list(folder).filter((name) => name.startsWith('skep-'))

suite('version 1', () => {
  test('a group is made in the process’s own, with its limit, and nobody moves but who joins', () => {
    const system = version1({ neighbours: [7] })
    const { groups, lines } = open(system)
    assert.deepEqual([lines.length, lines[0]!.level, lines[0]!.folder], [1, 30, V1])
    assert.deepEqual(names(system, V1), [], 'the trial left nothing')
    const group = groups!.create()!
    assert.equal(group.procs, `${V1}/skep-100-2/cgroup.procs`)
    const { files } = system.groups.get(`${V1}/skep-100-2`)!
    assert.equal(files.get('memory.limit_in_bytes'), String(1_000 * MB))
    assert.equal(files.get('memory.swappiness'), '0')
    assert.deepEqual([...system.groups.get(V1)!.procs], [100, 7])
    group.remove()
    assert.deepEqual(names(system, V1), [])
  })

  test('where a container sees a part of the hierarchy, paths are those of the whole', () => {
    const system = new FakeCgroups(1, { root: '/sys/fs/cgroup/with space/inner' })
    system.files.set('/proc/self/cgroup', '4:memory:/docker/abc/inner\n')
    system.files.set(
      '/proc/self/mountinfo',
      `1 2 0:32 /docker/ab /elsewhere rw - cgroup cgroup rw,memory
1 2 0:32 /docker/abc /sys/fs/cgroup/with\\040space rw - cgroup cgroup rw,memory
`,
    )
    assert.equal(open(system).groups!.settings.folder, '/sys/fs/cgroup/with space/inner')
  })

  test('the kernel’s counters tell who outgrew its group from a victim of the whole machine', () => {
    const system = version1()
    const group = open(system).groups!.create()!
    const { files } = system.groups.get(`${V1}/skep-100-2`)!
    assert.equal(group.outgrown(), undefined)
    files.set('memory.oom_control', 'oom_kill_disable 0\nunder_oom 0\noom_kill 1\n')
    assert.equal(group.outgrown(), undefined, 'it never reached its own limit')
    files.set('memory.failcnt', '12').set('memory.max_usage_in_bytes', String(999 * MB))
    assert.deepEqual(group.outgrown(), { limitMb: 1_000, peakMb: 999 })
    group.remove()
    assert.equal(group.outgrown(), undefined)
  })
})

suite('version 2', () => {
  test('the host moves into a leaf, as groups with processes cannot bound their children', () => {
    const system = version2()
    const { groups } = open(system)
    assert.equal(groups!.settings.folder, V2)
    assert.deepEqual([...system.groups.get(`${V2}/skep-host`)!.procs], [100])
    assert.deepEqual([...system.groups.get(V2)!.procs], [])
    groups!.create()
    const { files } = system.groups.get(`${V2}/skep-100-2`)!
    assert.deepEqual(
      ['memory.max', 'memory.swap.max', 'memory.oom.group'].map((name) => files.get(name)),
      [String(1_000 * MB), '0', '1'],
    )
  })

  test('a host that is started in the leaf, as systemd can do it, has its groups beside that', () => {
    const system = version2()
    system.makeFolder(`${V2}/skep-host`)
    system.move(100, `${V2}/skep-host`)
    system.files.set('/proc/self/cgroup', '0::/system.slice/skep.service/skep-host\n')
    assert.equal(open(system).groups!.settings.folder, V2)
    assert.equal(system.read(`${V2}/cgroup.subtree_control`), 'memory')
    assert.equal(open(system).groups!.settings.folder, V2, 'and so has the next one there')
  })

  test('processes of somebody else stay where they are, and so does the host', () => {
    const system = version2({ neighbours: [7] })
    const { groups, lines, why } = open(system)
    assert.equal(groups, undefined)
    assert.equal(why, `other processes are in ${V2}: 7`)
    assert.deepEqual([lines.length, lines[0]!.level], [1, 30])
    assert.deepEqual([...system.groups.get(V2)!.procs], [100, 7])
    assert.deepEqual(names(system, V2), [])
  })

  test('without the controller it says so', () => {
    const { groups, why } = open(version2({ controllers: 'cpu pids' }))
    assert.equal(groups, undefined)
    assert.equal(why, `there is no memory controller in ${V2}`)
  })

  test('when the controller cannot be handed on, the host moves back', () => {
    const system = version2()
    system.groups.get(V2)!.files.delete('cgroup.subtree_control')
    assert.match(open(system).why, /is not writable \(EACCES\)/)
    assert.deepEqual([...system.groups.get(V2)!.procs], [100])
    assert.deepEqual(names(system, V2), [])
  })

  test('the kernel’s counters tell who outgrew its group from a victim of the whole machine', () => {
    const system = version2()
    const group = open(system).groups!.create()!
    const { files } = system.groups.get(`${V2}/skep-100-2`)!
    files.set('memory.events', 'low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\noom_group_kill 1\n')
    assert.equal(group.outgrown(), undefined)
    files.set('memory.events', 'low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\noom_group_kill 1\n')
    files.delete('memory.peak')
    assert.deepEqual(group.outgrown(), { limitMb: 1_000, peakMb: 1_000 }, 'older kernels have no peak')
  })
})

for (const [version, make] of [
  [1, version1],
  [2, version2],
] as const) {
  suite(`where it is not permitted, version ${version}`, () => {
    test('a read-only tree is said to be one, and nothing else happens', () => {
      const system = make()
      system.isReadOnly = true
      const { groups, lines, why } = open(system)
      assert.equal(groups, undefined)
      assert.match(why, /^\/sys\/fs\/cgroup\/.* is not writable \(EROFS\)$/)
      assert.deepEqual([lines.length, lines[0]!.level], [1, 30])
    })

    test('nor is it when no process can be moved, and the trial’s group is gone', () => {
      const system = make()
      system.canJoin = false
      assert.match(open(system).why, /could not be moved/)
      const left = [...system.groups.keys()].filter((path) => /skep-\d/.test(path))
      assert.deepEqual(left, [])
    })
  })
}

test('a system without cgroups', () => {
  const system = version1()
  system.files.clear()
  assert.equal(open(system).why, 'this system has no cgroups')
  system.files.set('/proc/self/cgroup', '0::/\n')
  assert.equal(open(system).why, 'no cgroups are mounted here')
})

test('what a dead host has left is removed; what is in use, or is not skep’s, stays', async () => {
  const system = version1()
  for (const name of ['skep-50-1', 'skep-50-2', 'skep-60-1', 'skep-of-somebody', 'other']) system.makeFolder(`${V1}/${name}`)
  system.alive.add(60).add(70)
  system.move(70, `${V1}/skep-50-2`)
  const { clock } = open(system)
  assert.deepEqual(names(system, V1), ['skep-50-2', 'skep-60-1', 'skep-of-somebody'])
  // A cell of the dead host, which ends with it.
  await clock.pass(500)
  assert.equal(names(system, V1).length, 3)
  system.end(70)
  await clock.pass(50)
  assert.deepEqual(names(system, V1), ['skep-60-1', 'skep-of-somebody'])
  assert.ok(system.groups.has(`${V1}/other`))
})

test('a group that stays busy is given up in the end', async () => {
  const system = version1()
  const { groups, clock } = open(system)
  const group = groups!.create()!
  system.move(70, `${V1}/skep-100-2`)
  group.remove()
  await clock.pass(60_000)
  system.end(70)
  await clock.pass(60_000)
  assert.deepEqual(names(system, V1), ['skep-100-2'])
})

test('a process that can have no group any more runs without, and the log says so', () => {
  const system = version1()
  const { groups, lines } = open(system)
  system.isReadOnly = true
  assert.equal(groups!.create(), undefined)
  assert.deepEqual([lines.at(-1)!.level, lines.at(-1)!.why], [40, `${V1} is not writable (EROFS)`])
})

test('another process makes groups in the same place, with the limit of the moment', () => {
  const system = version2()
  const { groups, log } = open(system)
  groups!.limitBytes = 5 * MB
  system.pid = 200
  const group = new MemoryGroups(groups!.settings, { log, system }).create()!
  assert.equal(group.procs, `${V2}/skep-200-1/cgroup.procs`)
  assert.equal(system.groups.get(`${V2}/skep-200-1`)!.files.get('memory.max'), String(5 * MB))
})

import { join } from 'node:path'
import { FileLock } from './_file-lock.ts'
import { openFileStore } from './file.ts'

// What the tests stop and kill: node _file.child.ts <folder> hold | write
const [folder, task] = process.argv.slice(2)
if (task === 'hold') {
  const idle = setInterval(() => undefined, 1_000)
  await new FileLock(join(folder!, 'lock'), 1_000).run(() => {
    console.log('held')
    return new Promise(() => undefined)
  })
  clearInterval(idle)
} else {
  const store = await openFileStore(folder!)
  for (let i = 0; ; i++) {
    console.log(i)
    await store.put('big', Buffer.alloc(4 << 20, i))
  }
}

import { openStore } from '../host/store/open.ts'
import type { OpenStoreOptions } from '../host/store/open.ts'
import { SkepError } from '../host/errors.ts'

// One of several processes that add to the same record: node store-counter.child.ts <store> <options as JSON> <times>
const [description, options, times] = process.argv.slice(2)
const store = await openStore(description!, JSON.parse(options!) as OpenStoreOptions)
let conflicts = 0
for (let done = 0; done < Number(times);) {
  const object = await store.get('counter')
  const count = object && object !== 'unchanged' ? Number(Buffer.from(object.bytes).toString()) : 0
  const condition = object && object !== 'unchanged' ? { ifMatch: object.etag } : { ifAbsent: true }
  try {
    await store.put('counter', Buffer.from(String(count + 1)), condition)
    done++
  } catch (error) {
    if (!(error instanceof SkepError) || error.code !== 'precondition_failed') throw error
    conflicts++
  }
}
await store.close()
console.log(JSON.stringify({ conflicts }))

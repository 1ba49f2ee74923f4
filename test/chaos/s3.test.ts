import { STOPS } from './scenarios-stop.ts'
import { STORE } from './scenarios-store.ts'
import { playOn } from './stages.ts'

playOn({ store: 's3', placement: 'inline' }, [...STORE, ...STOPS])

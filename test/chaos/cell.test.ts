import { STOPS } from './scenarios-stop.ts'
import { playOn } from './stages.ts'

playOn({ store: 'file', placement: 'cell' }, [...STOPS])

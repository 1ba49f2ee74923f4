import { CHANGES_UNDER_LOAD } from './scenarios-changes.ts'
import { KILLS } from './scenarios-kill.ts'
import { STOPPED_CHILDREN, STOPS } from './scenarios-stop.ts'
import { playOn } from './stages.ts'

playOn({ store: 'file', placement: 'cell' }, [CHANGES_UNDER_LOAD, ...KILLS, ...STOPS, STOPPED_CHILDREN])

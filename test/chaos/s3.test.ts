import { CHANGES_UNDER_LOAD } from './scenarios-changes.ts'
import { KILLS } from './scenarios-kill.ts'
import { STORE } from './scenarios-store.ts'
import { playOn } from './stages.ts'

playOn({ store: 's3', placement: 'inline' }, [CHANGES_UNDER_LOAD, ...STORE, ...KILLS])

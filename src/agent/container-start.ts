// Whether a container that was granted something ever ran with it: a run that ended, or one that never began.

import { readContainerFacts } from './container-facts.ts';
import type { ContainerRecord } from './container-record.ts';

/** Docker notes the start in its record before it looks at the exit. True when the record cannot be read. */
export async function hasStarted(record: ContainerRecord): Promise<boolean> {
  if (record.dockerRoot === undefined) return true;
  try {
    const { isRunning, startedAt } = await readContainerFacts(record.dockerRoot, record.workload.id);
    return isRunning || startedAt >= record.grantedAt;
  } catch {
    return true;
  }
}

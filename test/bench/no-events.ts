// What bench/ledger-reads.ts puts in the place of src/agent/fuse/events.ts: opens and refusals leave no trace.

export type { FileEvent, Occurrence } from '../../src/agent/fuse/events.ts';

export const FLUSH_MS = 250;

export class EventFold {
  add(): void {}

  flush(): undefined {
    return undefined;
  }
}

// Puts the encrypted core together over one store. It comes up sealed, always.

import type { Storage } from '../storage/storage.ts';
import { Barrier } from './barrier.ts';
import { Seal } from './seal.ts';

export interface Core {
  readonly barrier: Barrier;
  readonly seal: Seal;
}

export function openCore(storage: Storage): Core {
  const barrier = new Barrier(storage);
  return { barrier, seal: new Seal(storage, barrier) };
}

// sys/key-status, sys/rotate and sys/seal: the keyring's term, a new one, and forgetting the keys.

import type { Barrier } from '../../core/barrier.ts';
import type { LogicalResponse } from '../../core/logical.ts';
import type { SysRoute } from './sys-engine.ts';

/** @param startSeal starts sealing; the request that asked is still audited and answered */
export function keyRoutes(barrier: Barrier, startSeal: () => void): SysRoute[] {
  const rotate = async (): Promise<undefined> => barrier.rotate().then(() => undefined);
  return [
    { path: 'key-status', operations: { read: async () => keyStatus(barrier) } },
    { path: 'rotate', operations: { update: rotate }, needsSudo: true },
    { path: 'rotate/keyring', operations: { update: rotate }, needsSudo: true },
    { path: 'seal', operations: { update: async () => { startSeal(); return undefined; } }, needsSudo: true },
  ];
}

function keyStatus(barrier: Barrier): LogicalResponse {
  const { term, installTime } = barrier.keyStatus();
  return { data: { term, install_time: installTime }, copyDataToTop: true };
}

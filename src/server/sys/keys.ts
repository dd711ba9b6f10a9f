// sys/key-status, sys/rotate, sys/rotate/config, sys/step-down and sys/seal: the keyring's term, a new one, when it comes by itself, and forgetting
// the keys.

import type { JsonObject, LogicalResponse } from '../../core/logical.ts';
import { formatDuration } from '../../lib/duration.ts';
import { booleanField, durationField, integerField } from '../../lib/fields.ts';
import type { KeyRotation } from '../key-rotation.ts';
import type { Reencryption } from '../reencryption.ts';
import type { SysRoute } from './sys-engine.ts';

/** @param startSeal starts sealing; the request that asked is still audited and answered */
export function keyRoutes(rotation: KeyRotation, reencryption: Reencryption, startSeal: () => void): SysRoute[] {
  const rotate = async (): Promise<undefined> => rotation.rotate().then(() => undefined);
  const config = { read: async () => readConfig(rotation), update: ({ data }: { readonly data: JsonObject }) => configure(rotation, data) };
  return [
    { path: 'key-status', operations: { read: async () => keyStatus(rotation, reencryption) } },
    { path: 'rotate', operations: { update: rotate }, needsSudo: true },
    { path: 'rotate/keyring', operations: { update: rotate }, needsSudo: true },
    { path: 'rotate/config', operations: config },
    { path: 'rotate/keyring/config', operations: config },
    { path: 'step-down', operations: { update: async () => undefined }, needsSudo: true }, // one server: nobody to step down for
    { path: 'seal', operations: { update: async () => { startSeal(); return undefined; } }, needsSudo: true },
  ];
}

/** Vault's three members, and how far the records of older terms have moved to the newest. */
function keyStatus(rotation: KeyRotation, reencryption: Reencryption): LogicalResponse {
  const { term, installTime, encryptions } = rotation.status();
  const { oldestTerm, isRunning, checked, renewed, unreadable } = reencryption.status();
  const state = isRunning ? 'running' : oldestTerm === term ? 'done' : unreadable > 0 ? 'incomplete' : 'waiting';
  return {
    data: {
      term, install_time: installTime, encryptions, oldest_term: oldestTerm, reencryption: state,
      reencryption_checked: checked, reencryption_renewed: renewed, reencryption_unreadable: unreadable,
    },
    copyDataToTop: true,
  };
}

function readConfig({ config }: KeyRotation): LogicalResponse {
  const interval = config.intervalSeconds === 0 ? 0 : formatDuration(config.intervalSeconds * 1000);
  return { data: { max_operations: config.maxOperations, interval, enabled: config.isEnabled }, copyDataToTop: true };
}

async function configure(rotation: KeyRotation, data: JsonObject): Promise<undefined> {
  const { config } = rotation;
  await rotation.configure({
    maxOperations: integerField(data, 'max_operations') ?? config.maxOperations,
    intervalSeconds: durationField(data, 'interval') ?? config.intervalSeconds,
    isEnabled: booleanField(data, 'enabled') ?? config.isEnabled,
  });
}

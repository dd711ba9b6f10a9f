// sys/key-status, sys/rotate, sys/rotate/config, sys/step-down and sys/seal: the keyring's term, a new one, when it comes by itself, and forgetting
// the keys.

import type { JsonObject, LogicalResponse } from '../../core/logical.ts';
import { formatDuration } from '../../lib/duration.ts';
import { booleanField, durationField, integerField } from '../../lib/fields.ts';
import type { KeyRotation } from '../key-rotation.ts';
import type { SysRoute } from './sys-engine.ts';

/** @param startSeal starts sealing; the request that asked is still audited and answered */
export function keyRoutes(rotation: KeyRotation, startSeal: () => void): SysRoute[] {
  const rotate = async (): Promise<undefined> => rotation.rotate().then(() => undefined);
  const config = { read: async () => readConfig(rotation), update: ({ data }: { readonly data: JsonObject }) => configure(rotation, data) };
  return [
    { path: 'key-status', operations: { read: async () => keyStatus(rotation) } },
    { path: 'rotate', operations: { update: rotate }, needsSudo: true },
    { path: 'rotate/keyring', operations: { update: rotate }, needsSudo: true },
    { path: 'rotate/config', operations: config },
    { path: 'rotate/keyring/config', operations: config },
    { path: 'step-down', operations: { update: async () => undefined }, needsSudo: true }, // one server: nobody to step down for
    { path: 'seal', operations: { update: async () => { startSeal(); return undefined; } }, needsSudo: true },
  ];
}

function keyStatus(rotation: KeyRotation): LogicalResponse {
  const { term, installTime, encryptions } = rotation.status();
  return { data: { term, install_time: installTime, encryptions }, copyDataToTop: true };
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

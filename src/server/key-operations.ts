// What operators do with the keys of an unsealed core: rotate and rekey them, make a root token by shares, seal. Puts the parts together
// and says what must end before the keys go.

import type { Logger } from 'pino';
import type { Barrier } from '../core/barrier.ts';
import { Rekey, type ShareKeeper } from '../core/rekey.ts';
import { RootGeneration } from '../core/root-generation.ts';
import { promoteStagedUnsealFile, stageUnsealFile } from '../core/unseal-file.ts';
import { messageOf } from '../lib/errors.ts';
import type { ServerConfig } from './config.ts';
import type { Family } from '../lib/metrics.ts';
import { KeyRotation } from './key-rotation.ts';
import { Reencryption } from './reencryption.ts';
import { generateRootRoutes } from './sys/generate-root.ts';
import { keyRoutes } from './sys/keys.ts';
import { rekeyRoutes } from './sys/rekey.ts';
import type { SysRoute } from './sys/sys-engine.ts';

export interface KeyOperationsOptions {
  readonly barrier: Barrier;
  readonly config: Pick<ServerConfig, 'autoUnseal' | 'allowGenerateRoot'>;
  readonly log: Logger;
  readonly now: () => number;
  readonly createRootToken: () => Promise<string>;
  readonly startSeal: () => void;
}

export interface KeyOperations {
  readonly routes: readonly SysRoute[];
  /** Wipe shares and end timers, while the barrier is still open. */
  readonly closers: readonly (() => Promise<void>)[];
  families(): Family[];
}

/** @throws ERR_RECORD_INVALID */
export async function openKeyOperations({ barrier, config, log, now, createRootToken, startSeal }: KeyOperationsOptions): Promise<KeyOperations> {
  const view = barrier.view('rotation/');
  const reencryption = await Reencryption.open({ barrier, view, log });
  const rotation = await KeyRotation.open({
    barrier, now, view, onNewTerm: () => { reencryption.start(); },
    onRotation: (outcome) => {
      if ('term' in outcome) log.info(outcome, 'a new data key, by the rotation configuration');
      else log.error({ reason: messageOf(outcome.error) }, 'the data key could not be checked or replaced');
    },
  });
  const rekey = new Rekey(barrier, shareKeeper(config.autoUnseal?.keyFile, log));
  const generation = new RootGeneration(barrier);
  return {
    routes: [...keyRoutes(rotation, reencryption, startSeal), ...rekeyRoutes(rekey), ...generateRootRoutes({ generation, createRootToken, isRecovery: config.allowGenerateRoot })],
    closers: [() => rekey.cancel(), () => generation.cancel(), () => reencryption.close(), () => rotation.close()],
    families: () => reencryption.families(),
  };
}

/** A core that unseals itself keeps doing so after a rekey. */
function shareKeeper(keyFile: string | undefined, log: Logger): ShareKeeper | undefined {
  if (keyFile === undefined) return undefined;
  return {
    stage: (shares) => stageUnsealFile(keyFile, shares),
    finish: () => promoteStagedUnsealFile(keyFile).catch((error: unknown) => { log.error({ reason: messageOf(error) }, 'the auto-unseal file could not be replaced; the next start does it'); }),
  };
}

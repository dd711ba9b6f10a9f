// The volumes that were created and not removed, in memory and in `<state>/volumes/<name>.json` (0600). A volume is on disk before
// its creation is answered. A file that does not read is reported and left alone: its volume is not there.

import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { z } from 'zod';
import { makeDirectory } from '../../lib/make-directory.ts';
import { readJsonFile, writeFileAtomic } from '../../lib/atomic-file.ts';
import { PurserError, messageOf } from '../../lib/errors.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { VOLUME_OPTIONS, onRotateSchema, readOnRotate } from '../on-rotate.ts';
import type { OnRotate } from '../on-rotate.ts';
import { readVolumeOptions, requireVolumeName } from './definition.ts';
import type { VolumeFile } from './definition.ts';

const MAX_VOLUMES = 10_000;
const id = z.number().int().min(0);

const storedSchema = z.strictObject({
  format: z.literal(1),
  name: z.string(),
  /** Milliseconds since the epoch. */
  created: id,
  files: z.array(z.strictObject({ name: z.string(), text: z.string(), uid: id, gid: id, mode: id })),
  onRotate: onRotateSchema.optional(),
});

export interface VolumeDefinition {
  readonly name: string;
  readonly created: number;
  readonly files: readonly VolumeFile[];
  /** What a container that mounts it wants done after its files changed. */
  readonly onRotate?: OnRotate | undefined;
}

export class VolumeDefinitions {
  readonly #directory: string;
  readonly #volumes = new Map<string, VolumeDefinition>();
  readonly #lock = new KeyedLock();

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Reads the volumes below `directory` (created with mode 0700). */
  static async open(directory: string, log: Logger): Promise<VolumeDefinitions> {
    const definitions = new VolumeDefinitions(directory);
    makeDirectory(directory, 0o700);
    for (const file of await readdir(directory)) {
      if (!file.endsWith('.json')) continue;
      try {
        const stored = await readJsonFile(join(directory, file), (value) => storedSchema.parse(value));
        if (stored?.name !== file.slice(0, -'.json'.length)) throw new Error('the file belongs to another volume');
        const { name, created, files, onRotate } = stored;
        definitions.#volumes.set(name, { name, created, files, ...(onRotate === undefined ? {} : { onRotate }) });
      } catch (error) {
        log.error({ file, err: messageOf(error).split('\n')[0] }, 'the record of a volume cannot be read; create the volume again');
      }
    }
    return definitions;
  }

  get(name: string): VolumeDefinition | undefined {
    return this.#volumes.get(name);
  }

  all(): VolumeDefinition[] {
    return [...this.#volumes.values()];
  }

  /** Stores a new volume; the same again changes nothing. @throws ERR_WORKLOAD_INVALID, ERR_REFERENCE_SYNTAX */
  async create(name: string, options: Readonly<Record<string, string>>): Promise<void> {
    requireVolumeName(name);
    const files = readVolumeOptions(options);
    const onRotate = readOnRotate(options, VOLUME_OPTIONS);
    await this.#lock.run(name, async () => {
      const known = this.#volumes.get(name);
      if (known !== undefined && isDeepStrictEqual([known.files, known.onRotate], [files, onRotate])) return;
      if (known !== undefined) throw new PurserError('ERR_WORKLOAD_INVALID', `the volume ${name} exists with other options`, { hint: `docker volume rm ${name}` });
      if (this.#volumes.size >= MAX_VOLUMES) throw new PurserError('ERR_WORKLOAD_INVALID', `there are ${MAX_VOLUMES} volumes already`);
      const definition = { name, created: Date.now(), files, ...(onRotate === undefined ? {} : { onRotate }) };
      await writeFileAtomic(this.#file(name), `${JSON.stringify({ format: 1, ...definition })}\n`, { mode: 0o600 });
      this.#volumes.set(name, definition);
    });
  }

  /** @returns false when there is none */
  remove(name: string): Promise<boolean> {
    return this.#lock.run(name, async () => {
      if (!this.#volumes.has(name)) return false;
      await rm(this.#file(name), { force: true });
      return this.#volumes.delete(name);
    });
  }

  #file(name: string): string {
    return join(this.#directory, `${name}.json`);
  }
}

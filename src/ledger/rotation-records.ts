// Rotations under way, on disk (FORMAT.md), so that a restart of the core forgets none and starts no clock anew. A record is written once some
// container is known to be behind, and goes when none is; so a rotation that takes milliseconds often writes nothing.

import { z } from 'zod';

import type { View } from '../core/view.ts';
import { decodeRecord, encodeRecord } from '../lib/json-record.ts';
import { namesBelow } from './names.ts';
import { hash } from './record.ts';

const recordSchema = z.strictObject({ format: z.literal(1), path: z.string(), version: z.number().int().min(1), started: z.number().int().min(0) });

/** A rotation that some container has not taken yet. `started` is milliseconds since the epoch. */
export type RotationRecord = Omit<z.infer<typeof recordSchema>, 'format'>;

export class RotationRecords {
  readonly #view: View;
  /** What is stored, by secret. */
  readonly #stored = new Map<string, number>();

  constructor(view: View) {
    this.#view = view;
  }

  /** All of them. @throws ERR_RECORD_INVALID */
  async load(): Promise<RotationRecord[]> {
    const records: RotationRecord[] = [];
    for await (const name of namesBelow(this.#view, '')) {
      const bytes = await this.#view.get(name);
      if (bytes === undefined) continue;
      const { path, version, started } = decodeRecord(bytes, recordSchema, 'rotation under way');
      this.#stored.set(path, version);
      records.push({ path, version, started });
    }
    return records;
  }

  async keep({ path, version, started }: RotationRecord): Promise<void> {
    if (this.#stored.get(path) === version) return;
    this.#stored.set(path, version);
    await this.#view.put(hash(path), encodeRecord({ format: 1, path, version, started }));
  }

  async drop(path: string): Promise<void> {
    if (this.#stored.delete(path)) await this.#view.delete(hash(path));
  }
}

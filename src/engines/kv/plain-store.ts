// Secrets without versions over a View (FORMAT.md, version 1). A secret still has a revision, which only grows, also across a
// removal: containers that hold it are compared by it, and an old number that came back would look like nothing new.
// Changes of one secret run one after the other; listeners hear of a change after it is durable.

import { z } from 'zod';

import type { JsonObject, JsonValue, SecretChangeListener } from '../../core/logical.ts';
import type { View, ViewOperation } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { isJsonObject } from '../../lib/json.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';

/** Secrets, and the last revision of those that were removed. */
export const PLAIN = 'plain/';
export const GONE = 'gone/';

const revision = z.int().positive();
const secretSchema = z.strictObject({ v: z.literal(1), revision, data: z.custom<JsonObject>((value) => isJsonObject(value as JsonValue)) });
const goneSchema = z.strictObject({ v: z.literal(1), revision });

export interface PlainSecret {
  readonly revision: number;
  readonly data: JsonObject;
}

export class PlainStore {
  readonly #view: View;
  readonly #onChange: SecretChangeListener;
  readonly #lock = new KeyedLock();
  readonly #writes = new Set<Promise<void>>();
  #isClosed = false;

  /** @param onChange called after a commit; must not throw */
  constructor(view: View, onChange: SecretChangeListener) {
    this.#view = view;
    this.#onChange = onChange;
  }

  /** @throws ERR_RECORD_INVALID */
  async read(path: string): Promise<PlainSecret | undefined> {
    const secret = await this.#load(path);
    if (secret === undefined && this.#isClosed) throw busy(); // it may have moved
    return secret;
  }

  async exists(path: string): Promise<boolean> {
    return (await this.#view.get(PLAIN + path)) !== undefined;
  }

  /** Replaces the secret. */
  write(path: string, data: JsonObject): Promise<void> {
    return this.#change(path, async () => {
      const last = (await this.#load(path))?.revision ?? await this.#lastRevision(path);
      const secret = encodeRecord({ v: 1, revision: last + 1, data });
      const operations: ViewOperation[] = [{ kind: 'put', key: PLAIN + path, value: secret }, { kind: 'delete', key: GONE + path }];
      await this.#view.transaction(operations);
      return last + 1;
    });
  }

  /** Removes the secret; one that is not there is no error. */
  remove(path: string): Promise<void> {
    return this.#change(path, async () => {
      const secret = await this.#load(path);
      if (secret === undefined) return undefined;
      await this.#view.transaction([
        { kind: 'delete', key: PLAIN + path }, { kind: 'put', key: GONE + path, value: encodeRecord({ v: 1, revision: secret.revision }) },
      ]);
      return 0;
    });
  }

  /** Immediate children of a folder (empty or ending in '/'), by name. */
  list(folder: string): Promise<string[]> {
    return this.#view.list(PLAIN + folder);
  }

  /** Refuses further writes, and resolves when those under way are done. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#writes);
  }

  /** @param commit gives the revision that can be read now, 0 for none, undefined when nothing changed */
  async #change(path: string, commit: () => Promise<number | undefined>): Promise<void> {
    if (this.#isClosed) throw busy();
    const write = this.#lock.run(path, async () => {
      const current = await commit();
      if (current !== undefined) this.#onChange(path, current);
    });
    this.#writes.add(write);
    try {
      await write;
    } finally {
      this.#writes.delete(write);
    }
  }

  async #load(path: string): Promise<PlainSecret | undefined> {
    const bytes = await this.#view.get(PLAIN + path);
    return bytes && parsePlain(bytes);
  }

  async #lastRevision(path: string): Promise<number> {
    const bytes = await this.#view.get(GONE + path);
    return bytes === undefined ? 0 : decodeRecord(bytes, goneSchema, 'removed secret').revision;
  }
}

/** @throws ERR_RECORD_INVALID */
export function parsePlain(bytes: Uint8Array): PlainSecret {
  return decodeRecord(bytes, secretSchema, 'secret without versions');
}

function busy(): PurserError {
  return new PurserError('ERR_REQUEST_BUSY', 'this mount is being changed', { hint: 'try again in a moment' });
}

// Which workload role gave which secret to some container, and when last: noted at every resolve, written once a day for each
// pair. From it comes the answer to "which roles grant more than is used", without keeping every container's labels.

import { createHash } from 'node:crypto';

import { z } from 'zod';

import type { View } from '../../core/view.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';

const DAY_MS = 24 * 3600_000;
/** Pairs kept; further ones are not noted, and the answer says so. */
const MAX_PAIRS = 200_000;

const recordSchema = z.strictObject({ format: z.literal(1), role: z.string(), path: z.string(), last: z.number().int().min(0) });

export class RoleUse {
  readonly #view: View;
  readonly #now: () => number;
  readonly #onFault: (error: unknown) => void;
  /** Role → path → time of the last use that was written, in milliseconds since the epoch. */
  readonly #roles = new Map<string, Map<string, number>>();
  #pairs = 0;
  #isFull = false;

  private constructor(view: View, now: () => number, onFault: (error: unknown) => void) {
    this.#view = view;
    this.#now = now;
    this.#onFault = onFault;
  }

  static async load(view: View, now: () => number, onFault: (error: unknown) => void): Promise<RoleUse> {
    const use = new RoleUse(view, now, onFault);
    for (const role of await view.list('')) {
      for (const name of await view.list(role)) {
        const bytes = await view.get(role + name);
        if (bytes === undefined) continue;
        const record = decodeRecord(bytes, recordSchema, 'use of a workload role');
        use.#set(record.role, record.path, record.last);
      }
    }
    return use;
  }

  /** True when pairs were not noted because there are too many. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** A container with these roles was given the secret. Costs a look-up; once a day a write, for which nobody waits. */
  note(roles: readonly string[], path: string): void {
    const now = this.#now();
    for (const role of roles) {
      const last = this.#roles.get(role)?.get(path);
      if (last !== undefined && now - last < DAY_MS) continue;
      if (last === undefined && this.#pairs >= MAX_PAIRS) {
        this.#isFull = true;
        continue;
      }
      this.#set(role, path, now);
      this.#view.put(keyOf(role, path), encodeRecord({ format: 1, role, path, last: now })).catch(this.#onFault);
    }
  }

  /** The secrets that the role gave since then, sorted. @param since milliseconds since the epoch; to the day */
  usedSince(role: string, since: number): string[] {
    return [...this.#roles.get(role) ?? new Map<string, number>()].filter(([, last]) => last + DAY_MS > since).map(([path]) => path).sort();
  }

  #set(role: string, path: string, last: number): void {
    let paths = this.#roles.get(role);
    if (paths === undefined) this.#roles.set(role, (paths = new Map<string, number>()));
    if (!paths.has(path)) this.#pairs++;
    paths.set(path, last);
  }
}

/** Role names are plain (auth/node/roles.ts). */
function keyOf(role: string, path: string): string {
  return `${role}/${createHash('sha256').update(path, 'utf8').digest('base64url')}`;
}

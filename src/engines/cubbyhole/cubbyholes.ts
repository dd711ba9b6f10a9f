// The cubbyholes of all tokens, each below the key of its token (FORMAT.md). Whoever has the key of a token reaches that cubbyhole
// only: keys are hex, so no path leads out of one.

import { z } from 'zod';
import { wipeFolder } from '../../core/folders.ts';
import type { JsonObject } from '../../core/logical.ts';
import type { View } from '../../core/view.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';

const recordSchema = z.strictObject({ v: z.literal(1), data: z.custom<JsonObject>((value) => typeof value === 'object' && value !== null && !Array.isArray(value)) });

export class Cubbyholes {
  readonly #view: View;

  /** @param view `cubbyhole/` */
  constructor(view: View) {
    this.#view = view;
  }

  async read(tokenKey: string, path: string): Promise<JsonObject | undefined> {
    const bytes = await this.#view.get(`${tokenKey}/${path}`);
    return bytes && decodeRecord(bytes, recordSchema, 'cubbyhole record').data;
  }

  write(tokenKey: string, path: string, data: JsonObject): Promise<void> {
    return this.#view.put(`${tokenKey}/${path}`, encodeRecord({ v: 1, data }));
  }

  delete(tokenKey: string, path: string): Promise<void> {
    return this.#view.delete(`${tokenKey}/${path}`);
  }

  /** @param folder empty, or ending in '/' */
  list(tokenKey: string, folder: string): Promise<string[]> {
    return this.#view.list(`${tokenKey}/${folder}`);
  }

  /** Removes the whole cubbyhole of a token. */
  wipe(tokenKey: string): Promise<void> {
    return wipeFolder(this.#view, `${tokenKey}/`);
  }
}

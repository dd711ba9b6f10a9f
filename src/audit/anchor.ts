// What the barrier knows about an audit file: its keys, and where its chain stood at least (FORMAT.md 2). With it a cut or
// replaced file is found when the device is opened.

import { z } from 'zod';

import type { View } from '../core/view.ts';
import { MacKey } from '../crypto/mac.ts';
import { randomBytes } from '../crypto/random.ts';
import { wipe } from '../lib/bytes.ts';
import { PurserError } from '../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../lib/json-record.ts';
import { GENESIS } from './chain.ts';
import type { Head } from './chain.ts';

const mac = z.string().regex(/^[0-9a-f]{64}$/);
const offset = z.int().nonnegative();
const anchorSchema = z.strictObject({ v: z.literal(1), seq: offset, mac, size: offset }).readonly();

/** A line of the file and the offset behind it. Size 0: the file is still to be begun, with the line after `head`. */
export interface Anchor {
  readonly head: Head;
  readonly size: number;
}

export interface AuditKeys {
  readonly hmacKey: MacKey;
  readonly chainKey: MacKey;
}

export class AnchorRecord {
  readonly keys: AuditKeys;
  readonly #view: View;

  private constructor(view: View, keys: AuditKeys) {
    this.#view = view;
    this.keys = keys;
  }

  /** Reads the keys, or makes them together with the anchor of a file still to be begun. @throws ERR_RECORD_INVALID */
  static async open(view: View): Promise<AnchorRecord> {
    let bytes = await view.get('keys');
    if (bytes === undefined) {
      bytes = randomBytes(64);
      await view.transaction([
        { kind: 'put', key: 'keys', value: bytes },
        { kind: 'put', key: 'anchor', value: encode({ head: GENESIS, size: 0 }) },
      ]);
    }
    if (bytes.length !== 64) throw new PurserError('ERR_RECORD_INVALID', 'the stored keys of an audit device are not 64 bytes long');
    const keys = { hmacKey: new MacKey(bytes.subarray(0, 32)), chainKey: new MacKey(bytes.subarray(32)) };
    wipe(bytes);
    return new AnchorRecord(view, keys);
  }

  /** @throws ERR_RECORD_INVALID when it is missing or malformed */
  async load(): Promise<Anchor> {
    const bytes = await this.#view.get('anchor') ?? new Uint8Array(0);
    const { seq, mac, size } = decodeRecord(bytes, anchorSchema, 'audit anchor');
    return { head: { seq, mac }, size };
  }

  save(anchor: Anchor): Promise<void> {
    return this.#view.put('anchor', encode(anchor));
  }
}

function encode({ head, size }: Anchor): Uint8Array {
  return encodeRecord({ v: 1, seq: head.seq, mac: head.mac, size });
}

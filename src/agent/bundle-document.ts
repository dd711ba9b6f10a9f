// A JSON file of the runtime, edited without loss: bounded and strict reading, a temporary file with the same mode and owner in the same
// directory, then rename, so that runc sees the old document or the new one. Typed access refuses what does not fit the OCI
// specification; errors name the member and never quote its content, which may be somebody's environment.

import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PurserError, messageOf } from '../lib/errors.ts';
import { JsonNumber, isLosslessObject, parseLossless, stringifyLossless } from '../lib/lossless-json.ts';
import type { LosslessObject, LosslessValue } from '../lib/lossless-json.ts';

/** As in the shim (src/shim/sight.c), which leaves larger files to runc. */
const MAX_BYTES = 16 * 1024 * 1024;

export class BundleDocument {
  readonly path: string;
  readonly root: LosslessObject;
  readonly #attributes: { readonly mode: number; readonly uid: number; readonly gid: number };

  private constructor(path: string, root: LosslessObject, attributes: { mode: number; uid: number; gid: number }) {
    this.path = path;
    this.root = root;
    this.#attributes = attributes;
  }

  /** @throws ERR_RUNTIME_BUNDLE when the file is unreadable, larger than 16 MiB, or no JSON object */
  static async load(path: string): Promise<BundleDocument> {
    try {
      // A FIFO must not block the agent, a link not lead it elsewhere.
      const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
      try {
        const stat = await file.stat();
        if (!stat.isFile()) throw new Error('it is not a regular file');
        if (stat.size > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`);
        const root = parseLossless(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await file.readFile()));
        if (!isLosslessObject(root)) throw new Error('it is no JSON object');
        return new BundleDocument(path, root, { mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid });
      } finally {
        await file.close();
      }
    } catch (error) {
      throw unusable(`${basename(path)} cannot be read: ${messageOf(error)}`, error);
    }
  }

  /** Replaces the file. Not synced: after a power loss there is no container to start. @throws ERR_RUNTIME_BUNDLE; the old file is then untouched */
  async save(): Promise<void> {
    const temporary = join(dirname(this.path), `.${basename(this.path)}.purser-${randomBytes(6).toString('hex')}`);
    try {
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(stringifyLossless(this.root));
        await file.chown(this.#attributes.uid, this.#attributes.gid);
        await file.chmod(this.#attributes.mode);
      } finally {
        await file.close();
      }
      await rename(temporary, this.path);
    } catch (error) {
      await unlink(temporary).catch(() => undefined);
      throw unusable(`${basename(this.path)} cannot be written: ${messageOf(error)}`, error);
    }
  }
}

/** The member at a path of keys; undefined when it, or an object on the way, is absent or null. @throws ERR_RUNTIME_BUNDLE when a non-object is on the way */
export function memberAt(root: LosslessObject, ...keys: readonly string[]): LosslessValue | undefined {
  let value: LosslessValue | undefined = root;
  keys.forEach((key, depth) => {
    if (value === undefined) return;
    if (!isLosslessObject(value)) throw wrongType(keys.slice(0, depth).join('.'), 'an object');
    value = value.get(key) ?? undefined;
  });
  return value;
}

/** @throws ERR_RUNTIME_BUNDLE when the value is neither absent nor an array */
export function arrayOf(value: LosslessValue | undefined, what: string): LosslessValue[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw wrongType(what, 'an array');
  return value;
}

/** @throws ERR_RUNTIME_BUNDLE when the value is no object */
export function objectOf(value: LosslessValue | undefined, what: string): LosslessObject {
  if (!isLosslessObject(value)) throw wrongType(what, 'an object');
  return value;
}

/** @throws ERR_RUNTIME_BUNDLE when the value is no string */
export function stringOf(value: LosslessValue | undefined, what: string): string {
  if (typeof value !== 'string') throw wrongType(what, 'a string');
  return value;
}

/** A 32-bit unsigned number, as ids and id ranges are. @throws ERR_RUNTIME_BUNDLE */
export function uint32Of(value: LosslessValue | undefined, what: string): number {
  const number = value instanceof JsonNumber && /^[0-9]{1,10}$/.test(value.text) ? Number(value.text) : NaN;
  if (!(number <= 0xffff_ffff)) throw wrongType(what, 'an unsigned 32-bit number');
  return number;
}

export function wrongType(what: string, expected: string): PurserError {
  return unusable(`${what} of the container's configuration is not ${expected}`);
}

export function unusable(what: string, cause?: unknown): PurserError {
  return new PurserError('ERR_RUNTIME_BUNDLE', what, {
    hint: 'the bundle is not as Docker writes it: check what else changes it (other runtimes, hooks)', cause,
  });
}

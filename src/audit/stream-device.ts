// A device that hands entries, one JSON line each, to something that takes a stream: a log collector's socket, or syslog. An
// entry counts as logged once the kernel took all of it. Bounded in time (a stream that does not take an entry in time is
// given up with everything waiting on it) and in memory; after a failed opening the next try waits a second.

import type { Writable } from 'node:stream';

import type { View } from '../core/view.ts';
import { MacKey } from '../crypto/mac.ts';
import { randomBytes } from '../crypto/random.ts';
import { wipe } from '../lib/bytes.ts';
import { withDeadline } from '../lib/deadline.ts';
import { messageOf, PurserError } from '../lib/errors.ts';
import type { AuditDevice } from './device.ts';
import { EntryRenderer } from './entry.ts';
import type { AuditEntry, EntryType, RenderOptions } from './entry.ts';

const MAX_QUEUED_BYTES = 16 * 1024 * 1024;
/** After a failed opening nothing is tried for this long. */
export const COOL_DOWN_MS = 1_000;

export interface StreamAuditOptions {
  readonly type: string;
  /** For the key of the hashes; of this device alone. */
  readonly view: View;
  readonly now: () => number;
  /** Opens the stream. `signal` ends the try. */
  readonly connect: (signal: AbortSignal) => Promise<Writable>;
  /** For opening and for each entry, in milliseconds. */
  readonly timeoutMs: number;
  /** Before each line. */
  readonly prefix: string;
  readonly render: RenderOptions;
  /** Longer entries are refused. */
  readonly maxEntryBytes?: number;
}

export class StreamAuditDevice implements AuditDevice {
  readonly type: string;
  readonly #options: StreamAuditOptions;
  readonly #key: MacKey;
  readonly #renderer: EntryRenderer;
  #stream: Promise<Writable> | undefined;
  #opening = new AbortController();
  #retryAt = 0;
  #queuedBytes = 0;
  #isClosed = false;

  private constructor(options: StreamAuditOptions, key: MacKey) {
    this.type = options.type;
    this.#options = options;
    this.#key = key;
    this.#renderer = new EntryRenderer((value) => this.hmacString(value), options.render);
  }

  /** Prepares the device without opening the stream: what is away now may be there when it is needed. */
  static async open(options: StreamAuditOptions): Promise<StreamAuditDevice> {
    let bytes = await options.view.get('key');
    if (bytes === undefined) await options.view.put('key', bytes = randomBytes(32));
    if (bytes.length !== 32) throw new PurserError('ERR_RECORD_INVALID', 'the stored key of an audit device is not 32 bytes long');
    const key = new MacKey(bytes);
    wipe(bytes);
    return new StreamAuditDevice(options, key);
  }

  hmacString(value: string): string {
    return `hmac-sha256:${this.#key.hex(value)}`;
  }

  /** Opens the stream now. @throws ERR_AUDIT_REFUSED when it cannot be */
  async probe(): Promise<void> {
    await this.#inTime(this.#connected());
  }

  async log(type: EntryType, entry: AuditEntry): Promise<void> {
    const line = Buffer.from(`${this.#options.prefix}${this.#renderer.render(type, entry, this.#options.now())}\n`);
    if (line.length > (this.#options.maxEntryBytes ?? MAX_QUEUED_BYTES)) throw refused('the audit entry is too long for this device');
    if (this.#queuedBytes + line.length > MAX_QUEUED_BYTES) throw refused('too many audit entries wait for this device');
    this.#queuedBytes += line.length;
    try {
      await this.#inTime(this.#write(line));
    } finally {
      this.#queuedBytes -= line.length;
    }
  }

  /** Opens a new stream with the next entry. */
  async reopen(): Promise<void> {
    this.#giveUp();
    this.#retryAt = 0;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const stream = await this.#stream?.catch(() => undefined);
    this.#giveUp(stream !== undefined);
    stream?.end();
  }

  async #write(line: Buffer): Promise<void> {
    const stream = await this.#connected();
    await new Promise<void>((resolve, reject) => {
      stream.write(line, (error) => { if (error === null || error === undefined) resolve(); else reject(refused(`the audit stream broke: ${messageOf(error)}`, error)); });
    });
  }

  #connected(): Promise<Writable> {
    if (this.#isClosed) throw refused('the audit device is closed');
    if (this.#stream !== undefined) return this.#stream;
    if (performance.now() < this.#retryAt) throw refused('the audit stream could not be opened a moment ago');
    const opening = this.#opening = new AbortController();
    const stream = this.#options.connect(opening.signal).then((opened) => {
      const forget = (): void => { if (this.#stream === stream) this.#stream = undefined; };
      opened.on('error', forget).once('close', forget);
      return opened;
    }, (cause: unknown) => {
      if (this.#stream === stream) this.#stream = undefined;
      this.#retryAt = performance.now() + COOL_DOWN_MS;
      throw refused(`the audit stream cannot be opened: ${messageOf(cause)}`, cause);
    });
    return this.#stream = stream;
  }

  async #inTime<T>(work: Promise<T>): Promise<T> {
    return withDeadline(work, this.#options.timeoutMs, () => {
      this.#giveUp();
      this.#retryAt = performance.now() + COOL_DOWN_MS;
      return refused(`the audit device took no entry within ${this.#options.timeoutMs} ms`);
    });
  }

  /** Whatever waits on the stream fails. */
  #giveUp(isKept = false): void {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#opening.abort();
    if (!isKept) stream?.then((opened) => opened.destroy(), () => undefined);
  }
}

function refused(message: string, cause?: unknown): PurserError {
  return new PurserError('ERR_AUDIT_REFUSED', message, cause === undefined ? {} : { cause });
}

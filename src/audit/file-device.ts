// The file audit device: one chained line per entry (FORMAT.md), handed to the kernel before log() resolves. Entries of one turn
// of the event loop share one write; a batch that cannot be written whole is refused whole and leaves no trace. The barrier
// keeps an anchor no more than a second behind, so that a cut file is noticed at the next start.

import { rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import type { View } from '../core/view.ts';
import { isPurserError, PurserError } from '../lib/errors.ts';
import { atEndOfTurn } from '../lib/turn.ts';
import { AnchorRecord } from './anchor.ts';
import type { Anchor } from './anchor.ts';
import { AppendFile } from './append-file.ts';
import { nextHead, sealLine } from './chain.ts';
import type { Head } from './chain.ts';
import type { AuditDevice } from './device.ts';
import { EntryRenderer } from './entry.ts';
import type { AuditEntry, EntryType, RenderOptions } from './entry.ts';
import { damaged, recover } from './recovery.ts';
import type { EntryMatcher } from './filter.ts';
import { searchFile } from './search.ts';
import type { SearchOptions, SearchResult } from './search.ts';
import { verifyFile } from './verify.ts';
import type { VerifyReport } from './verify.ts';
import { checkFiles, joinReports } from './verify-files.ts';
import type { ChainReport } from './verify-files.ts';

const ANCHOR_DELAY_MS = 1_000;
/** The anchor's write is synced while everybody waits, so a busy core makes one a second and not more. */
const ANCHOR_ENTRIES = 16_384;
/** Entries waiting for a slow disk; beyond it requests are refused instead of filling the memory. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;

export interface FileAuditOptions {
  /** Absolute. */
  readonly path: string;
  /** The file must lie in this directory or below it. */
  readonly directory: string;
  /** For keys and anchor; of this device alone. */
  readonly view: View;
  readonly now: () => number;
  /** The operator accepts a missing, cut or changed file: it is renamed to `….damaged-<time>` and the chain goes on in a new one. */
  readonly replaceDamaged?: boolean;
  readonly render?: RenderOptions;
  /** Told when the anchor could not be stored or the file was found changed; entries may go on. */
  readonly onFailure?: (error: unknown) => void;
}

interface Waiting {
  readonly body: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class FileAuditDevice implements AuditDevice {
  readonly type = 'file';
  readonly #options: FileAuditOptions;
  readonly #record: AnchorRecord;
  readonly #renderer: EntryRenderer;
  readonly #listeners = new Set<(line: string) => void>();
  #file: AppendFile;
  #head: Head;
  #queue: Waiting[] = [];
  #queuedBytes = 0;
  #isReopening = false;
  #isClosed = false;
  #unanchored = 0;
  #anchorTimer: NodeJS.Timeout | undefined;
  #turn: Promise<void> = Promise.resolve();

  private constructor(options: FileAuditOptions, record: AnchorRecord, file: AppendFile, head: Head) {
    this.#options = options;
    this.#record = record;
    this.#renderer = new EntryRenderer((value) => this.hmacString(value), options.render);
    this.#file = file;
    this.#head = head;
  }

  /**
   * Opens or begins the file and proves its end.
   * @throws ERR_AUDIT_CHAIN when it is missing, cut or changed, ERR_AUDIT_FILE when it cannot be used safely
   */
  static async open(options: FileAuditOptions): Promise<FileAuditDevice> {
    const record = await AnchorRecord.open(options.view);
    const anchor = await record.load();
    const { file, head } = await openFile(options, record, anchor, 'created').catch(async (error: unknown) => {
      if (options.replaceDamaged !== true || !isPurserError(error, 'ERR_AUDIT_CHAIN')) throw error;
      return replaceFile(options, record, anchor);
    });
    const device = new FileAuditDevice(options, record, file, head);
    await device.#saveAnchor();
    return device;
  }

  /** Where the file is. */
  get path(): string {
    return this.#options.path;
  }

  hmacString(value: string): string {
    return `hmac-sha256:${this.#record.keys.hmacKey.hex(value)}`;
  }

  log(type: EntryType, entry: AuditEntry): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw refused('the audit device is closed');
      const body = this.#renderer.render(type, entry, this.#options.now());
      if (this.#queuedBytes + body.length > MAX_QUEUED_BYTES) throw refused('too many audit entries wait for the disk');
      this.#queuedBytes += body.length;
      if (this.#queue.push({ body, resolve, reject }) === 1) this.#schedule();
    });
  }

  async reopen(): Promise<void> {
    if (this.#isClosed) throw refused('the audit device is closed');
    await this.#inTurn(async () => {
      this.#isReopening = true;
      try {
        const before = this.#file;
        const opened = await openFile(this.#options, this.#record, { head: this.#head, size: before.size }, 'rotated', before);
        this.#file = opened.file;
        this.#head = opened.head;
        await before.close();
      } finally {
        this.#isReopening = false;
        this.#schedule();
      }
    });
    await this.#saveAnchor();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#turn;
    this.#writeBatch();
    try {
      if (this.#file.broken === undefined) await this.#saveAnchor();
    } finally {
      clearTimeout(this.#anchorTimer);
      await this.#file.close();
    }
  }

  /**
   * Proves the whole file up to now, while it is being written.
   * @param name a plain file name beside the device's file, for one that was rotated away
   */
  async verify(name?: string): Promise<VerifyReport> {
    const { chainKey } = this.#record.keys;
    return name === undefined
      ? verifyFile(this.#options.path, { chainKey, anchor: this.#head, size: this.#file.size })
      : verifyFile(this.#beside(name), { chainKey });
  }

  /** Proves the file and those that were rotated away as one chain. @param rotated plain names of files beside it */
  async verifyAll(rotated: readonly string[]): Promise<ChainReport> {
    const before = await checkFiles(rotated.map((name) => this.#beside(name)), this.#record.keys.chainKey);
    return joinReports([...before, { file: basename(this.#options.path), report: await this.verify() }]);
  }

  /** Searches the file, or a rotated one beside it, from its end. @throws ERR_REQUEST_INVALID */
  search(matcher: EntryMatcher, options: SearchOptions & { readonly file?: string | undefined }): Promise<SearchResult> {
    return searchFile(options.file === undefined ? this.#options.path : this.#beside(options.file), matcher, options);
  }

  /** Hands every line that is written from now on to `listener`, until what it returns is called. */
  follow(listener: (line: string) => void): () => void {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }

  /** The key that proves the chain, and could also forge it. The caller wipes it. */
  exportChainKey(): Buffer {
    return this.#record.keys.chainKey.export();
  }

  #beside(name: string): string {
    if (name === '' || name.includes('/') || name.includes('\0') || name === '..' || name === '.') throw new PurserError('ERR_REQUEST_INVALID', 'the name of a rotated audit file is a plain file name');
    return join(dirname(this.#options.path), name);
  }

  /** Everything that is logged in this turn of the event loop goes into one write. */
  #schedule(): void {
    atEndOfTurn(() => { if (!this.#isReopening) this.#writeBatch(); });
  }

  #writeBatch(): void {
    if (this.#queue.length === 0) return;
    const batch = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    let head = this.#head;
    let text = '';
    try {
      for (const { body } of batch) {
        head = nextHead(this.#record.keys.chainKey, head, body);
        text += sealLine(body, head);
      }
      this.#file.append(Buffer.from(text));
    } catch (error) {
      for (const { reject } of batch) reject(error);
      return;
    }
    this.#head = head;
    for (const { resolve } of batch) resolve();
    if (this.#listeners.size > 0) for (const { body } of batch) for (const listener of this.#listeners) listener(body);
    this.#scheduleAnchor(batch.length);
  }

  #scheduleAnchor(entries: number): void {
    this.#unanchored += entries;
    if (this.#isClosed) return;
    const delay = this.#unanchored >= ANCHOR_ENTRIES ? 0 : ANCHOR_DELAY_MS;
    if (this.#anchorTimer !== undefined && delay > 0) return;
    if (delay === 0) this.#unanchored = 0;
    clearTimeout(this.#anchorTimer);
    this.#anchorTimer = setTimeout(() => {
      this.#anchorTimer = undefined;
      this.#saveAnchor().catch((error: unknown) => this.#options.onFailure?.(error));
    }, delay).unref();
  }

  #saveAnchor(): Promise<void> {
    return this.#inTurn(async () => {
      this.#unanchored = 0;
      const file = this.#file;
      const anchor = { head: this.#head, size: file.size };
      file.check();
      await file.sync();
      await this.#record.save(anchor);
    });
  }

  /** One after the other, so that an older anchor never replaces a newer one, and no file is closed while it is synced. */
  #inTurn(action: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(action);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

/** @param before the file in use until now, when there is one */
async function openFile(
  options: FileAuditOptions, record: AnchorRecord, known: Anchor, reason: 'created' | 'rotated' | 'replaced', before?: AppendFile,
): Promise<{ readonly file: AppendFile; readonly head: Head }> {
  const file = await AppendFile.open(options.path, options.directory, known.size === 0 || before !== undefined);
  if (file === undefined) throw damaged('it is missing');
  try {
    let anchor = known;
    if (before !== undefined && before.identity !== file.identity) {
      if (file.size > 0) throw damaged('another file is in its place');
      if (before.broken === undefined) await before.sync();
      anchor = { head: known.head, size: 0 };
      await record.save(anchor);
    }
    const head = await recover({ file, anchor, chainKey: record.keys.chainKey, reason: anchor.head.seq === 0 ? 'created' : reason, timeMs: options.now() });
    return { file, head };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function replaceFile(options: FileAuditOptions, record: AnchorRecord, { head }: Anchor): ReturnType<typeof openFile> {
  const aside = `${options.path}.damaged-${new Date(options.now()).toISOString().replaceAll(':', '')}`;
  await rename(options.path, aside).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  const anchor = { head, size: 0 };
  await record.save(anchor);
  return openFile(options, record, anchor, 'replaced');
}

function refused(message: string): PurserError {
  return new PurserError('ERR_AUDIT_REFUSED', message);
}

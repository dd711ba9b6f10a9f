// The ledger on its way to the core: append-only NDJSON segments below `<state>/spool/`, one entry a line, each with its
// sequence number; no values. An entry stays on disk until the core acknowledged it. A torn last line (the agent or the
// machine died) is cut off and reported. A full disk or a full spool drops entries, counted and loudly, and never throws:
// recording must not stand in the way of serving.

import { randomUUID } from 'node:crypto';
import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readdirSync, unlinkSync, writeSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import { makeDirectory } from '../lib/make-directory.ts';
import { readJsonFile, writeFileAtomic } from '../lib/atomic-file.ts';
import { PurserError, messageOf } from '../lib/errors.ts';
import { MAX_USAGE_ENTRIES, usageEntrySchema } from '../wire/node-protocol.ts';
import type { UsageBatch, UsageEntry } from '../wire/node-protocol.ts';

/** An entry before it has its sequence number. */
export type NewUsageEntry = UsageEntry extends infer E ? E extends UsageEntry ? Omit<E, 'seq'> : never : never;

export interface SpoolLimits {
  /** A new segment is begun past this size. */
  readonly segmentBytes: number;
  /** Past this total, `opened` and `refused` entries are dropped; past one and a quarter of it, every entry. */
  readonly totalBytes: number;
  readonly batchBytes: number;
}

const DEFAULT_LIMITS: SpoolLimits = { segmentBytes: 4 << 20, totalBytes: 256 << 20, batchBytes: 900_000 };

interface Segment {
  readonly path: string;
  /** Local sequence number of the first line. */
  readonly first: number;
  /** Number after the last line's. */
  next: number;
  /** Length of the whole lines. */
  bytes: number;
}

/** spool.json: which spool the core knows, where its numbering starts locally, and how far the core acknowledged. */
const headSchema = z.strictObject({
  format: z.literal(1),
  spool: z.uuid(),
  base: z.number().int().min(0),
  acknowledged: z.number().int().min(0),
});
type Head = z.infer<typeof headSchema>;

export class LedgerSpool {
  readonly #directory: string;
  readonly #log: Logger;
  readonly #limits: SpoolLimits;
  readonly #segments: Segment[] = [];
  #head: Head;
  #next: number;
  #descriptor: number | undefined;
  #dropped = 0;

  private constructor(directory: string, head: Head, log: Logger, limits: SpoolLimits) {
    this.#directory = directory;
    this.#head = head;
    this.#next = head.acknowledged + 1;
    this.#log = log;
    this.#limits = limits;
  }

  /**
   * Opens the spool, creating it when `directory` is empty or missing.
   * @param directory mode 0700, for this spool alone
   * @throws ERR_STATE_CORRUPT when spool.json or a segment is damaged elsewhere than in its torn last line
   */
  static async open(directory: string, log: Logger, limits: Partial<SpoolLimits> = {}): Promise<LedgerSpool> {
    makeDirectory(directory, 0o700);
    const names = readdirSync(directory).filter((name) => /^[0-9]{16}\.ndjson$/.test(name)).sort();
    const stored = await readJsonFile(join(directory, 'spool.json'), (value) => headSchema.parse(value));
    if (stored === undefined && names.length > 0) throw corrupt(join(directory, 'spool.json'), 'it is missing while segments are there');
    const spool = new LedgerSpool(directory, stored ?? { format: 1, spool: randomUUID(), base: 0, acknowledged: 0 }, log, { ...DEFAULT_LIMITS, ...limits });
    if (stored === undefined) await spool.#saveHead();
    for (const [index, name] of names.entries()) await spool.#recover(name, index === names.length - 1);
    spool.#removeAcknowledged();
    return spool;
  }

  /** Entries that had to be dropped since the spool was opened. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Entries on disk that the core has not acknowledged. */
  get pending(): number {
    return this.#next - 1 - this.#head.acknowledged;
  }

  /** Writes one entry. Never throws: an entry that cannot be written is counted in `dropped` and logged. */
  append(entry: NewUsageEntry): void {
    const parsed = usageEntrySchema.safeParse({ ...entry, seq: this.#next });
    // An entry that the core would refuse would hold up all entries behind it.
    if (!parsed.success) return this.#drop(`its field ${parsed.error.issues[0]?.path.join('.') ?? ''} is not valid`);
    const line = Buffer.from(`${JSON.stringify(parsed.data)}\n`);
    if (line.length > this.#limits.batchBytes) return this.#drop('it is larger than a batch');
    const used = this.#segments.reduce((sum, segment) => sum + segment.bytes, line.length);
    const limit = entry.type === 'opened' || entry.type === 'refused' ? this.#limits.totalBytes : this.#limits.totalBytes * 1.25;
    if (used > limit) return this.#drop('the spool is full because the core has not taken entries for long');
    try {
      this.#write(line);
      this.#next++;
    } catch (error) {
      this.#drop(messageOf(error));
    }
  }

  /** The oldest entries that are not acknowledged, durable on disk before they are handed out; undefined when there are none. */
  async batch(): Promise<UsageBatch | undefined> {
    const from = this.#head.acknowledged + 1;
    const segment = this.#segments.find((one) => one.next > from);
    if (segment === undefined) return undefined;
    // After a power loss a number that the core has seen must not come back with another entry.
    if (this.#descriptor !== undefined && segment === this.#segments.at(-1)) fdatasyncSync(this.#descriptor);
    const lines = (await this.#lines(segment)).slice(from - segment.first);
    const entries: UsageEntry[] = [];
    let bytes = 0;
    for (const line of lines.slice(0, MAX_USAGE_ENTRIES)) {
      bytes += Buffer.byteLength(line) + 1;
      if (bytes > this.#limits.batchBytes && entries.length > 0) break;
      const entry = usageEntrySchema.parse(JSON.parse(line));
      entries.push({ ...entry, seq: entry.seq - this.#head.base });
    }
    return { spool: this.#head.spool, entries };
  }

  /**
   * Takes the core's word on how far it has the spool, and deletes what it has.
   * @param sequence the `acknowledged` of its answer
   */
  async acknowledge(sequence: number): Promise<void> {
    const local = sequence + this.#head.base;
    // The core knows numbers that are not given yet: the disk below was rolled back, and new entries would pass for old ones.
    if (local >= this.#next) return this.restart();
    if (local <= this.#head.acknowledged) return;
    this.#head = { ...this.#head, acknowledged: local };
    await this.#saveHead();
    this.#removeAcknowledged();
  }

  /**
   * Begins a new spool with the entries that are left, when core and node disagree on the numbering because one of them
   * was restored from a backup. Entries that were acknowledged are gone here; the log says so.
   */
  async restart(): Promise<void> {
    this.#head = { format: 1, spool: randomUUID(), base: this.#head.acknowledged, acknowledged: this.#head.acknowledged };
    await this.#saveHead();
    this.#log.error({ spool: this.#head.spool }, 'core and node disagree on the place in the usage ledger: a new spool is begun');
  }

  close(): void {
    if (this.#descriptor === undefined) return;
    try {
      fdatasyncSync(this.#descriptor);
    } catch (error) {
      this.#log.error({ err: messageOf(error) }, 'the usage spool could not be synced');
    }
    closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  async #recover(name: string, isLast: boolean): Promise<void> {
    const path = join(this.#directory, name);
    const first = Number(name.slice(0, 16));
    const content = await readFile(path);
    const whole = content.lastIndexOf(0x0a) + 1;
    let next = first;
    let bytes = 0;
    for (const line of content.subarray(0, whole).toString('utf8').split('\n').slice(0, -1)) {
      if (!isEntry(line, next)) break;
      next++;
      bytes += Buffer.byteLength(line) + 1;
    }
    const torn = content.length - bytes;
    if (torn > 0) {
      // Only the end of the last segment was being written; a hole before whole lines is damage, not a crash.
      const isTail = content.subarray(bytes).indexOf(0x0a) === -1 || content.subarray(bytes).indexOf(0x0a) === torn - 1;
      if (!isLast || !isTail) throw corrupt(path, `line ${next - first + 1} is damaged`);
      await truncate(path, bytes);
      this.#log.warn({ path, bytes: torn }, 'the last line of the usage spool was torn and is cut off');
    }
    const before = this.#segments.at(-1);
    if (before !== undefined && before.next !== first) throw corrupt(path, `it begins with entry ${first} instead of ${before.next}`);
    this.#segments.push({ path, first, next, bytes });
    this.#next = Math.max(this.#next, next);
  }

  #write(line: Buffer): void {
    const segment = this.#writable();
    try {
      let written = 0;
      while (written < line.length) written += writeSync(this.#descriptor!, line, written, line.length - written, segment.bytes + written);
    } catch (error) {
      // Half a line would make the next entry unreadable.
      ftruncateSync(this.#descriptor!, segment.bytes);
      throw error;
    }
    segment.bytes += line.length;
    segment.next++;
  }

  #writable(): Segment {
    const last = this.#segments.at(-1);
    const isFit = last !== undefined && last.next === this.#next && last.bytes < this.#limits.segmentBytes;
    if (isFit && this.#descriptor !== undefined) return last;
    this.close();
    const segment = isFit ? last : { path: join(this.#directory, `${String(this.#next).padStart(16, '0')}.ndjson`), first: this.#next, next: this.#next, bytes: 0 };
    this.#descriptor = openSync(segment.path, isFit ? 'r+' : 'w+', 0o600);
    if (isFit && fstatSync(this.#descriptor).size !== segment.bytes) ftruncateSync(this.#descriptor, segment.bytes);
    if (!isFit) this.#segments.push(segment);
    return segment;
  }

  async #lines(segment: Segment): Promise<string[]> {
    const file = await open(segment.path, 'r');
    try {
      const content = Buffer.alloc(segment.bytes);
      await file.read(content, 0, content.length, 0);
      return content.toString('utf8').split('\n').slice(0, -1);
    } finally {
      await file.close();
    }
  }

  #removeAcknowledged(): void {
    while (this.#segments[0] !== undefined && this.#segments[0].next - 1 <= this.#head.acknowledged) {
      const segment = this.#segments.shift()!;
      if (this.#segments.length === 0) this.close();
      try {
        unlinkSync(segment.path);
      } catch (error) {
        this.#log.error({ err: messageOf(error) }, 'an acknowledged part of the usage spool could not be deleted');
      }
    }
  }

  async #saveHead(): Promise<void> {
    await writeFileAtomic(join(this.#directory, 'spool.json'), `${JSON.stringify(this.#head)}\n`, { mode: 0o600 });
  }

  #drop(reason: string): void {
    this.#dropped++;
    // Each power of two: loud at the start, and not a second disk filler afterwards.
    if ((this.#dropped & (this.#dropped - 1)) === 0) {
      this.#log.error({ dropped: this.#dropped, reason }, 'usage entries are being dropped');
    }
  }
}

function isEntry(line: string, sequence: number): boolean {
  try {
    return usageEntrySchema.parse(JSON.parse(line)).seq === sequence;
  } catch {
    return false;
  }
}

async function truncate(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.truncate(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

function corrupt(path: string, reason: string): PurserError {
  return new PurserError('ERR_STATE_CORRUPT', `state file ${path} cannot be used: ${reason}`, {
    hint: 'move the spool directory away to go on with a new one; the entries in it are then not reported',
  });
}

// The filesystem's memory across agents: an append-only log in two inherited memfds, so that kill -9 at any instruction loses nothing that was
// acknowledged. Values live only here, once, outside the JavaScript heap; they are read from here for every READ and zeroed here when they end.
// Layout of each file, little-endian:
//   0, 512   two header slots of 64 bytes, used in turn: magic 8 | format u32 | 0 u32 | sequence u64 | end u64 | next id u64 | 0 u64 | digest 16
//   4096     first file only: the request in flight, raw (for kernels without FUSE_NOTIFY_RESEND)
//   8192     frames: value length u32 | meta length u32 | wiped u8 | 0 (7) | meta digest 16 | value digest 16 | meta (JSON) | value | 0 to 8 bytes
// A header write commits everything below `end`; bytes above it never happened. The valid header with the highest sequence, of either
// file, names the live log. Compaction copies the live frames into the other file and commits them with one header. Digests are SHA-256 prefixes.
// A wiped frame keeps its meta and skips its value: the flag is set before the value is zeroed.

import { createHash } from 'node:crypto';
import { PurserError, messageOf } from '../../lib/errors.ts';
import type { StateFile } from './state-file.ts';
import type { StateRecord } from './state-record.ts';

const MAGIC = Buffer.from('PURSERFS');
const FORMAT = 1;
const HEADER_BYTES = 64;
const HEADER_STRIDE = 512;
const IN_FLIGHT_OFFSET = 4096;
const IN_FLIGHT_BYTES = 4096;
const FRAMES_OFFSET = 8192;
const FRAME_HEAD = 48;
const MAX_META = 65_536;
/** Largest secret, in bytes. */
export const MAX_VALUE = 1_048_576;
/** Garbage below this is not worth a compaction. */
const COMPACTION_FLOOR = 262_144;

/** Where a record lies; compaction moves it, so the object is shared and its offset changes. */
export interface Slot {
  offset: number;
  readonly metaLength: number;
  readonly valueLength: number;
}

/** A record found at recovery. */
export interface RecoveredRecord {
  readonly record: StateRecord;
  readonly slot: Slot;
}

interface Header { readonly file: 0 | 1; readonly sequence: number; readonly end: number; readonly nextId: number }

const zeros = Buffer.alloc(65_536);

function frameBytes(slot: Pick<Slot, 'metaLength' | 'valueLength'>): number {
  return (FRAME_HEAD + slot.metaLength + slot.valueLength + 7) & ~7;
}

function digest(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest().subarray(0, 16);
}

function corrupt(detail: string): PurserError {
  return new PurserError('ERR_STATE_CORRUPT', `the filesystem state handed over by the holder is damaged: ${detail}`,
    { hint: 'stop the agent and its holder, unmount the filesystem, and start them again; containers then need a restart' });
}

function readAll(file: StateFile, length: number, position: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, file.read(bytes, 0, length, position));
}

function readHeaders(state: StateFile, file: 0 | 1): Header[] {
  const found: Header[] = [];
  for (const at of [0, HEADER_STRIDE]) {
    const b = readAll(state, HEADER_BYTES, at);
    if (b.length < HEADER_BYTES || !b.subarray(0, 8).equals(MAGIC) || !b.subarray(48).equals(digest(b.subarray(0, 48)))) continue;
    if (b.readUInt32LE(8) !== FORMAT) throw corrupt('it was written by another version of this program');
    found.push({ file, sequence: Number(b.readBigUInt64LE(16)), end: Number(b.readBigUInt64LE(24)), nextId: Number(b.readBigUInt64LE(32)) });
  }
  return found;
}

function encodeFrame(meta: Uint8Array, value: Uint8Array, target: Buffer): void {
  target.writeUInt32LE(value.length, 0);
  target.writeUInt32LE(meta.length, 4);
  digest(target.subarray(0, 8), meta).copy(target, 16);
  digest(value).copy(target, 32);
  target.set(meta, FRAME_HEAD);
  target.set(value, FRAME_HEAD + meta.length);
}

/** The state log over the two files of the holder (memfds, or regular files in tests). Used by one thread only. */
export class StateLog {
  readonly #files: readonly [StateFile, StateFile];
  #active: 0 | 1;
  #sequence: number;
  #end: number;
  #nextId: number;
  #liveBytes = 0;

  private constructor(files: readonly [StateFile, StateFile], start: Header) {
    this.#files = files;
    this.#active = start.file;
    this.#sequence = start.sequence;
    this.#end = start.end;
    this.#nextId = start.nextId;
  }

  /**
   * Opens the log, creating it when both files are empty, and reads every committed record in order.
   * @param firstId the first id that a fresh log hands out
   * @throws ERR_STATE_CORRUPT when committed bytes are missing or altered: values are never dropped silently
   */
  static open(files: readonly [StateFile, StateFile], firstId: number): { log: StateLog; records: RecoveredRecord[]; inFlight: Buffer | undefined } {
    const best = [...readHeaders(files[0], 0), ...readHeaders(files[1], 1)].sort((a, b) => b.sequence - a.sequence)[0];
    if (best === undefined && files.some((file) => file.size() > FRAMES_OFFSET)) throw corrupt('no header is valid');
    const inFlight = StateLog.#readInFlight(files[0]);
    const log = new StateLog(files, best ?? { file: 0, sequence: 0, end: FRAMES_OFFSET, nextId: firstId });
    if (best === undefined) log.#commit(log.#active, log.#end, firstId);
    const records = log.#recover();
    log.#file.truncate(log.#end); // a torn tail never happened
    files[log.#active === 0 ? 1 : 0].truncate(0);
    return { log, records, inFlight };
  }

  /** The smallest id never used. */
  get nextId(): number {
    return this.#nextId;
  }

  /** Bytes of the live log that no live record uses. */
  get garbageBytes(): number {
    return this.#end - FRAMES_OFFSET - this.#liveBytes;
  }

  /** True when garbage outweighs live data. */
  get wantsCompaction(): boolean {
    return this.garbageBytes > Math.max(this.#liveBytes, COMPACTION_FLOOR);
  }

  /**
   * Commits records as one group: after a crash either all of them are there or none.
   * @throws ERR_STORAGE_FULL when the memory is exhausted; nothing has changed then
   */
  append(records: readonly StateRecord[], nextId: number): Slot[] {
    const frames = records.map(({ value = zeros.subarray(0, 0), ...meta }) => ({ meta: Buffer.from(JSON.stringify(meta)), value }));
    const slots: Slot[] = [];
    let end = this.#end;
    for (const { meta, value } of frames) {
      if (meta.length > MAX_META || value.length > MAX_VALUE) throw new PurserError('ERR_WORKLOAD_INVALID', 'a secret file is larger than 1 MiB');
      const slot = { offset: end, metaLength: meta.length, valueLength: value.length };
      slots.push(slot);
      end += frameBytes(slot);
    }
    const bytes = Buffer.alloc(end - this.#end);
    frames.forEach(({ meta, value }, i) => encodeFrame(meta, value, bytes.subarray(slots[i]!.offset - this.#end)));
    try {
      this.#file.write(bytes, this.#end);
      this.#commit(this.#active, end, nextId);
    } catch (error) {
      this.#file.truncate(this.#end);
      throw new PurserError('ERR_STORAGE_FULL', `the memory for secret files cannot be extended: ${messageOf(error)}`, { cause: error, hint: 'free memory on this node' });
    } finally {
      bytes.fill(0);
    }
    this.#liveBytes += bytes.length;
    return slots;
  }

  /** Copies up to `length` bytes of a record's value, from byte `from`, into `target`; returns how many. */
  read(slot: Slot, from: number, target: Buffer, at: number, length: number): number {
    const count = Math.min(length, slot.valueLength - from);
    if (count <= 0) return 0;
    if (this.#file.read(target, at, count, slot.offset + FRAME_HEAD + slot.metaLength + from) < count) throw corrupt('a value is cut off');
    return count;
  }

  /** True when the record's value is exactly `value`. */
  holds(slot: Slot, value: Uint8Array): boolean {
    if (slot.valueLength !== value.length) return false;
    return readAll(this.#file, 16, slot.offset + 32).equals(digest(value));
  }

  /** Counts records as garbage; the next compaction leaves them behind. */
  release(slots: readonly Slot[]): void {
    for (const slot of slots) this.#liveBytes -= frameBytes(slot);
  }

  /** Erases the values of records that are already released by a committed record, or that nothing needs any more. */
  wipe(slots: readonly Slot[]): void {
    for (const slot of slots) {
      this.#file.write(Buffer.of(1), slot.offset + 8);
      this.#file.write(zeros.subarray(0, 16), slot.offset + 32);
      const value = slot.offset + FRAME_HEAD + slot.metaLength;
      for (let done = 0; done < slot.valueLength; done += zeros.length) {
        this.#file.write(zeros.subarray(0, Math.min(zeros.length, slot.valueLength - done)), value + done);
      }
    }
    this.release(slots);
  }

  /** Moves the live records, in this order, into the other file and gives the old one's memory back. */
  compact(live: readonly Slot[]): void {
    const target = this.#active === 0 ? 1 : 0;
    const file = this.#files[target];
    file.truncate(0);
    let end = FRAMES_OFFSET;
    const offsets = live.map((slot) => {
      const frame = readAll(this.#file, frameBytes(slot), slot.offset);
      file.write(frame, end);
      frame.fill(0);
      end += frame.length;
      return end - frame.length;
    });
    this.#commit(target, end, this.#nextId);
    this.#file.truncate(0);
    this.#active = target;
    this.#liveBytes = end - FRAMES_OFFSET;
    live.forEach((slot, i) => { slot.offset = offsets[i]!; });
  }

  /** Notes the request now being answered; only needed where the kernel cannot send it again. */
  saveInFlight(request: Buffer, length: number): void {
    if (length <= IN_FLIGHT_BYTES) this.#files[0].write(request.subarray(0, length), IN_FLIGHT_OFFSET);
  }

  get #file(): StateFile {
    return this.#files[this.#active];
  }

  #commit(file: 0 | 1, end: number, nextId: number): void {
    const sequence = this.#sequence + 1;
    const b = Buffer.alloc(HEADER_BYTES);
    MAGIC.copy(b);
    b.writeUInt32LE(FORMAT, 8);
    b.writeBigUInt64LE(BigInt(sequence), 16);
    b.writeBigUInt64LE(BigInt(end), 24);
    b.writeBigUInt64LE(BigInt(nextId), 32);
    digest(b.subarray(0, 48)).copy(b, 48);
    this.#files[file].write(b, (sequence % 2) * HEADER_STRIDE);
    this.#sequence = sequence;
    this.#end = end;
    this.#nextId = nextId;
  }

  #recover(): RecoveredRecord[] {
    if (this.#end > FRAMES_OFFSET && this.#file.size() < this.#end) throw corrupt('records are cut off');
    const records: RecoveredRecord[] = [];
    for (let offset = FRAMES_OFFSET; offset < this.#end;) {
      const head = readAll(this.#file, FRAME_HEAD, offset);
      if (head.length < FRAME_HEAD) throw corrupt('a record is cut off');
      const slot: Slot = { offset, valueLength: head.readUInt32LE(0), metaLength: head.readUInt32LE(4) };
      if (slot.metaLength > MAX_META || slot.valueLength > MAX_VALUE || offset + frameBytes(slot) > this.#end) throw corrupt('a record has an impossible length');
      const meta = readAll(this.#file, slot.metaLength, offset + FRAME_HEAD);
      if (!digest(head.subarray(0, 8), meta).equals(head.subarray(16, 32))) throw corrupt('a record is altered');
      if (head[8] === 0) records.push(this.#recovered(meta, slot, head.subarray(32)));
      offset += frameBytes(slot);
    }
    return records;
  }

  #recovered(meta: Buffer, slot: Slot, valueDigest: Buffer): RecoveredRecord {
    const value = readAll(this.#file, slot.valueLength, slot.offset + FRAME_HEAD + slot.metaLength);
    const intact = digest(value).equals(valueDigest);
    value.fill(0);
    if (!intact) throw corrupt('a value is altered');
    this.#liveBytes += frameBytes(slot);
    return { record: JSON.parse(meta.toString()) as StateRecord, slot };
  }

  static #readInFlight(file: StateFile): Buffer | undefined {
    const bytes = readAll(file, IN_FLIGHT_BYTES, IN_FLIGHT_OFFSET);
    const length = bytes.length < 40 ? 0 : bytes.readUInt32LE(0);
    return length >= 40 && length <= bytes.length ? bytes.subarray(0, length) : undefined;
  }
}

// Reading the audit log through the API: search, proof, and a live tail. Under policy like any path of sys/audit (sudo); what is
// read is what the file holds, so hashes instead of values. Bounded: one proof at a time, a piece of a file per search, few
// tails, and a tail whose reader is slow loses entries and is told how many.

import { readdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { EntryMatcher, OUTCOMES } from '../audit/filter.ts';
import type { FileAuditDevice } from '../audit/file-device.ts';
import type { JsonObject, LogicalResponse } from '../core/logical.ts';
import { parseDuration } from '../lib/duration.ts';
import { PurserError } from '../lib/errors.ts';
import { validate } from '../wire/validate.ts';
import { AuditTails, type Watcher } from './audit-tails.ts';
import type { AuditDevices } from './audit-devices.ts';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 500;
const MAX_FILES = 64;
/** Names that a log rotation gives; compressed files cannot be read in place. */
const ROTATED = /^[.-][A-Za-z0-9._-]{1,64}(?<!\.gz|\.xz|\.zst|\.bz2)$/;

const text = z.string().min(1).max(1_024);
const moment = z.string().max(64);
const limit = z.union([z.number(), z.string().regex(/^\d{1,4}$/).transform(Number)]).pipe(z.number().int().min(1).max(MAX_LIMIT));
const filterFields = {
  device: text.optional(), path: text.optional(), secret: text.optional(), accessor: text.optional(), node: text.optional(),
  operation: text.optional(), trace: z.string().regex(/^[0-9a-f]{32}$/).optional(), outcome: z.enum(OUTCOMES).optional(), all: z.enum(['true', 'false']).optional(),
};
const tailSchema = z.strictObject(filterFields);
const searchSchema = z.strictObject({ ...filterFields, since: moment.optional(), until: moment.optional(), limit: limit.optional(), cursor: text.optional(), file: text.optional() });
const verifySchema = z.strictObject({ files: text.optional() });

export interface AuditLogOptions {
  readonly devices: AuditDevices;
  /** The API paths that are about the secret at a logical path, such as `secret/data/db/prod`. */
  readonly apiPaths: (secret: string) => readonly string[];
  readonly now: () => number;
}

export class AuditLog {
  readonly #options: AuditLogOptions;
  readonly #tails: AuditTails;
  #isVerifying = false;

  /** @param mayRead asked again and again while a tail runs: its token may be revoked, its policy changed */
  constructor(options: AuditLogOptions, mayRead: (watcher: Watcher) => Promise<boolean>) {
    this.#options = options;
    this.#tails = new AuditTails(options.now, mayRead);
  }

  /** `GET sys/audit/log`. @throws ERR_REQUEST_INVALID */
  async search(query: JsonObject): Promise<LogicalResponse> {
    const wish = validate(searchSchema, query, 'audit search');
    const { name, device } = this.#file(wish.device);
    const matcher = this.#matcher(device, { ...wish, since: this.#time(wish.since), until: this.#time(wish.until) });
    const { entries, cursor } = await device.search(matcher, { limit: wish.limit ?? DEFAULT_LIMIT, cursor: wish.cursor, file: wish.file });
    const about = { device: name, cursor: cursor ?? '' };
    return { data: { ...about, entries }, auditData: { ...about, entries: entries.length } };
  }

  /** `GET sys/audit/verify/<device>`. @throws ERR_REQUEST_BUSY, ERR_REQUEST_INVALID */
  async verify(name: string, query: JsonObject): Promise<LogicalResponse> {
    const { files } = validate(verifySchema, query, 'audit proof');
    const { device } = this.#file(name);
    if (this.#isVerifying) throw new PurserError('ERR_REQUEST_BUSY', 'another proof is running', { hint: 'wait for it to end' });
    this.#isVerifying = true;
    try {
      const rotated = files === undefined ? await rotatedFiles(device) : files.split(',').slice(0, MAX_FILES);
      return { data: { ...await device.verifyAll(rotated) } as unknown as JsonObject };
    } finally {
      this.#isVerifying = false;
    }
  }

  /** `GET sys/audit/key/<device>`: what proves the chain without a core. */
  key(name: string): LogicalResponse {
    const bytes = this.#file(name).device.exportChainKey();
    const chainKey = bytes.toString('base64');
    bytes.fill(0);
    return { data: { chain_key: chainKey }, warnings: ['whoever has this key can also forge the audit file: keep it away from the host of the core'] };
  }

  /** Checks the query of a tail before it is authorised and audited; `tail` then starts it. @throws ERR_REQUEST_INVALID */
  checkTail(query: JsonObject): LogicalResponse {
    this.#follow(query);
    return { data: {} };
  }

  /** Takes the response over. @throws ERR_REQUEST_BUSY before anything was written */
  tail(watcher: Watcher, query: JsonObject, response: ServerResponse): void {
    const { device, matcher } = this.#follow(query);
    this.#tails.start(watcher, device, matcher, response);
  }

  close(): void {
    this.#tails.close();
  }

  #follow(query: JsonObject): { readonly device: FileAuditDevice; readonly matcher: EntryMatcher } {
    const wish = validate(tailSchema, query, 'audit tail');
    const { device } = this.#file(wish.device);
    return { device, matcher: this.#matcher(device, wish) };
  }

  #file(name: string | undefined): { readonly name: string; readonly device: FileAuditDevice } {
    const found = this.#options.devices.file(name);
    if (found === undefined) throw new PurserError('ERR_REQUEST_INVALID', name === undefined ? 'there is no audit file' : 'there is no audit file device of this name', { hint: 'purser audit list' });
    return found;
  }

  #matcher(device: FileAuditDevice, wish: z.infer<typeof tailSchema> & { readonly since?: number | undefined; readonly until?: number | undefined }): EntryMatcher {
    const { path, secret, accessor, node, operation, trace, outcome, all, since, until } = wish;
    const paths = [...(path === undefined ? [] : [path]), ...(secret === undefined ? [] : this.#options.apiPaths(secret))];
    return new EntryMatcher({
      paths: paths.length === 0 ? undefined : paths, orMentions: secret === undefined ? undefined : [device.hmacString(secret)],
      accessors: accessor === undefined ? undefined : [accessor, device.hmacString(accessor)],
      node, operation, trace, outcome, since, until, isEverything: all === 'true',
    });
  }

  /** RFC 3339, or a duration before now. */
  #time(wish: string | undefined): number | undefined {
    if (wish === undefined) return undefined;
    const time = /^\d{4}-\d{2}-\d{2}/.test(wish) ? Date.parse(wish) : this.#options.now() - parseDuration(wish);
    if (Number.isNaN(time)) throw new PurserError('ERR_REQUEST_INVALID', 'a time is such as 2026-01-31T12:00:00Z or, before now, 2h');
    return time;
  }
}

/** What lies beside the device's file under its name and an ending. */
async function rotatedFiles(device: FileAuditDevice): Promise<string[]> {
  const name = basename(device.path);
  const beside = await readdir(dirname(device.path), { withFileTypes: true });
  return beside.filter((entry) => entry.isFile() && entry.name.startsWith(name) && ROTATED.test(entry.name.slice(name.length))).map((entry) => entry.name).sort().slice(0, MAX_FILES);
}

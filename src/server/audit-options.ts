// From Vault's options of an audit device to a checked specification, and back. What would weaken a device (raw values, a
// file mode for others, a transport that loses entries) is refused with the reason, never ignored.

import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { SYSLOG_FACILITIES } from '../audit/stream-targets.ts';
import { parseDuration } from '../lib/duration.ts';
import { PurserError } from '../lib/errors.ts';
import type { JsonObject } from '../lib/json.ts';

export const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** No quotes or line breaks: a prefix must not be able to end the line or begin another protocol. */
const PREFIX = /^[A-Za-z0-9@:<>_.\- ]{0,64}$/;
const TAG = /^[A-Za-z0-9_.-]{1,32}$/;
const HOST = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/;
const DEFAULT_TIMEOUT_MS = 2_000;
const MIN_TIMEOUT_MS = 100;
const MAX_TIMEOUT_MS = 30_000;

const target = z.union([z.strictObject({ path: z.string() }), z.strictObject({ host: z.string(), port: z.int().min(1).max(65_535) })]);
const rendering = { hashAccessors: z.boolean(), elideLists: z.boolean() };

/** As it is stored. */
export const deviceOptionsSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('file'), file: z.string().regex(FILE_NAME), ...rendering }),
  z.strictObject({ type: z.literal('socket'), target, timeoutMs: z.int(), prefix: z.string(), ...rendering }),
  z.strictObject({ type: z.literal('syslog'), facility: z.enum(SYSLOG_FACILITIES), tag: z.string(), prefix: z.string(), ...rendering }),
]);
export type DeviceOptions = Readonly<z.infer<typeof deviceOptionsSchema>>;

type Given = Map<string, string>;

/**
 * Checks what a client asks for.
 * @param fileIn the plain file name that a file_path stands for @throws when it is not in the audit directory
 * @throws ERR_REQUEST_INVALID
 */
export function parseDeviceOptions(type: string, options: Readonly<Record<string, string>>, fileIn: (path: string) => string): DeviceOptions {
  const given: Given = new Map(Object.entries(options));
  const take = (name: string): string | undefined => { const value = given.get(name); given.delete(name); return value === '' ? undefined : value; };
  if (flag('log_raw', take('log_raw'), false)) throw refused('log_raw is not supported: it would write secrets in clear', 'sys/audit-hash finds a known value in the log');
  const render = { hashAccessors: flag('hmac_accessor', take('hmac_accessor'), true), elideLists: flag('elide_list_responses', take('elide_list_responses'), false) };
  const format = take('format');
  if (format !== undefined && format !== 'json') throw refused('entries are written as JSON only');
  const parsed = optionsOf(type, take, render, fileIn);
  const [unknown] = given.keys();
  if (unknown !== undefined) throw refused(`an audit device of type ${type} has no option ${JSON.stringify(unknown).slice(0, 64)}`);
  return parsed;
}

function optionsOf(type: string, take: (name: string) => string | undefined, render: { hashAccessors: boolean; elideLists: boolean }, fileIn: (path: string) => string): DeviceOptions {
  switch (type) {
    case 'file': {
      const path = take('file_path') ?? take('path');
      if (path === undefined) throw refused('file_path is required');
      if (!['0600', '600', undefined].includes(take('mode'))) throw refused('an audit file has mode 0600', 'leave mode out');
      if (take('prefix') !== undefined) throw refused('an audit file has no prefix: it would make lines of somebody else\'s choice', 'leave prefix out');
      return { type, file: fileIn(path), ...render };
    }
    case 'socket': {
      const address = take('address');
      const kind = take('socket_type') ?? 'tcp';
      if (address === undefined) throw refused('address is required');
      if (kind === 'udp') throw refused('a datagram may be lost without a sign, and then the request would not be on record', 'use socket_type tcp or unix');
      if (kind !== 'tcp' && kind !== 'unix') throw refused('socket_type is tcp or unix');
      return { type, target: kind === 'tcp' ? hostAndPort(address) : socketPath(address), timeoutMs: timeout(take('write_timeout')), prefix: prefix(take('prefix')), ...render };
    }
    case 'syslog': {
      const facility = (take('facility') ?? 'auth').toLowerCase();
      const known = SYSLOG_FACILITIES.find((name) => name === facility);
      const tag = take('tag') ?? 'purser';
      if (known === undefined) throw refused(`facility is one of ${SYSLOG_FACILITIES.join(', ')}`);
      if (!TAG.test(tag)) throw refused('tag is 1 to 32 letters, digits, dots, - or _');
      return { type, facility: known, tag, prefix: prefix(take('prefix')), ...render };
    }
    default: throw refused('the type of an audit device is file, socket or syslog');
  }
}

/** The options as Vault's API lists them. @param directory of audit files, with trailing '/' */
export function shownOptions(options: DeviceOptions, directory: string): JsonObject {
  const render = { hmac_accessor: String(options.hashAccessors), ...(options.elideLists ? { elide_list_responses: 'true' } : {}) };
  switch (options.type) {
    case 'file': return { file_path: directory + options.file, ...render };
    case 'socket': {
      const address = 'path' in options.target ? { address: options.target.path, socket_type: 'unix' } : { address: `${options.target.host}:${options.target.port}`, socket_type: 'tcp' };
      return { ...address, write_timeout: `${options.timeoutMs}ms`, prefix: options.prefix, ...render };
    }
    case 'syslog': return { facility: options.facility, tag: options.tag, prefix: options.prefix, ...render };
  }
}

function hostAndPort(address: string): { host: string; port: number } {
  const [, ipv6, host, digits] = HOST.exec(address) ?? [];
  const port = Number(digits);
  if (digits === undefined || port < 1 || port > 65_535) throw refused('address is host:port');
  return { host: ipv6 ?? host ?? '', port };
}

function socketPath(address: string): { path: string } {
  if (!isAbsolute(address) || address.length > 107 || /[\0-\x1f]/.test(address)) throw refused('address is the absolute path of a socket');
  return { path: address };
}

function timeout(text: string | undefined): number {
  const ms = text === undefined ? DEFAULT_TIMEOUT_MS : parseDuration(text);
  if (ms < MIN_TIMEOUT_MS || ms > MAX_TIMEOUT_MS) throw refused('write_timeout is 100ms to 30s');
  return ms;
}

function prefix(text = ''): string {
  if (!PREFIX.test(text)) throw refused('prefix is at most 64 letters, digits, blanks or @ : < > _ . -');
  return text;
}

function flag(name: string, text: string | undefined, fallback: boolean): boolean {
  if (text === undefined) return fallback;
  if (['true', '1', 't'].includes(text.toLowerCase())) return true;
  if (['false', '0', 'f'].includes(text.toLowerCase())) return false;
  throw refused(`${name} is true or false`);
}

export function refused(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}

// The receivers that the configuration file names. Nothing else can add one: whoever could choose a URL here could make the core
// speak to whatever it reaches. Plain HTTP is for this host only; the signing secret is in a file that only root and the core read.

import { lstatSync, readFileSync } from 'node:fs';

import { z } from 'zod';

import { PurserError } from '../../lib/errors.ts';
import { isLoopbackHost } from '../../lib/loopback.ts';
import type { NotifyTarget } from './delivery.ts';
import { EVENT_TYPES } from './event.ts';

const MIN_SECRET_BYTES = 16;
const MAX_SECRET_BYTES = 4096;

const path = z.string().startsWith('/').max(4096).refine((text) => !text.includes('\0'), 'must not contain NUL');
const shape = { name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 letters, digits, - or _'), events: z.array(z.enum(EVENT_TYPES)).min(1).default([...EVENT_TYPES]) };
const targetSchema = z.union([
  z.strictObject({ ...shape, url: z.string().max(2048), secret_file: path }),
  z.strictObject({ ...shape, command: z.tuple([path], z.string().max(4096)) }),
], 'each names a url with a secret_file, or a command with an absolute path');

/** Of the configuration file. */
export const notifySchema = z.array(targetSchema).max(8).refine((targets) => new Set(targets.map(({ name }) => name)).size === targets.length, 'two have the same name');
export type NotifyConfig = z.output<typeof notifySchema>;

/** @throws ERR_CONFIG_INVALID */
export function loadTargets(config: NotifyConfig): NotifyTarget[] {
  return config.map((target) => {
    const { name, events } = target;
    if ('command' in target) return { name, events, kind: 'command', command: [target.command[0], ...target.command.slice(1)] };
    return { name, events, kind: 'webhook', url: checkUrl(target.url, name), secret: readSecret(target.secret_file) };
  });
}

function checkUrl(text: string, name: string): string {
  const url = URL.parse(text);
  const isFine = url !== null && url.username === '' && url.password === '' && (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopbackHost(url.hostname.replace(/^\[|\]$/g, ''))));
  if (!isFine) throw new PurserError('ERR_CONFIG_INVALID', `notify ${name}: the url must be https, or http to this host, without a user`, { hint: 'such as https://hooks.example/purser' });
  return url.href;
}

function readSecret(file: string): Buffer {
  const refuse = (reason: string): never => {
    throw new PurserError('ERR_CONFIG_INVALID', `notify: the secret file ${file} ${reason}`, { hint: `openssl rand -hex 32 > ${file} && chmod 600 ${file}` });
  };
  try {
    const found = lstatSync(file);
    if (!found.isFile()) return refuse('is not a regular file');
    if ((found.mode & 0o077) !== 0) return refuse('may be read by others');
    if (found.size > MAX_SECRET_BYTES) return refuse(`has more than ${String(MAX_SECRET_BYTES)} bytes`);
    const secret = readFileSync(file);
    const end = secret.at(-1) === 0x0a ? secret.length - 1 : secret.length;
    return end < MIN_SECRET_BYTES ? refuse(`has fewer than ${String(MIN_SECRET_BYTES)} bytes`) : secret.subarray(0, end);
  } catch (error) {
    if (error instanceof PurserError) throw error;
    return refuse(`cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`);
  }
}

// One delivery: an HTTP POST with a signature, or a program with the event on its standard input. Both end in bounded time. Where
// to is the configuration file's word alone; a redirect is a failure, and of an answer only its status is read.
//
// Purser-Signature: t=<seconds since the epoch>,v1=<hex of HMAC-SHA256(secret, "<t>.<body>")>. Whoever receives checks it in
// constant time and refuses what is older than some minutes; Purser-Event-Id is the same at every try.

import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';

import { PurserError } from '../../lib/errors.ts';
import { loopbackLookup } from '../../lib/loopback.ts';
import { VERSION } from '../../lib/version.ts';
import type { EventType, NotifyEvent } from './event.ts';

const TIMEOUT_MS = 10_000;
const COMMAND_MS = 30_000;

interface TargetBase { readonly name: string; readonly events: readonly EventType[] }
export type NotifyTarget = TargetBase & (
  | { readonly kind: 'webhook'; readonly url: string; readonly secret: Buffer }
  | { readonly kind: 'command'; readonly command: readonly [string, ...string[]] }
);

/** @throws ERR_NOTIFY_DELIVERY; the reason holds a status or a system's code and nothing the receiver said */
export async function deliver(target: NotifyTarget, event: NotifyEvent, now: number): Promise<void> {
  const body = JSON.stringify(event);
  if (target.kind === 'webhook') await post(target.url, target.secret, event.id, body, now);
  else await run(target.command, body);
}

/** The value of Purser-Signature. @param now milliseconds since the epoch */
export function signature(secret: Buffer, body: string, now: number): string {
  const seconds = Math.floor(now / 1000);
  return `t=${String(seconds)},v1=${createHmac('sha256', secret).update(`${String(seconds)}.${body}`).digest('hex')}`;
}

function post(url: string, secret: Buffer, id: string, body: string, now: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = (url.startsWith('https:') ? httpsRequest : httpRequest)(url, {
      method: 'POST', agent: false, ...(url.startsWith('https:') ? {} : { lookup: loopbackLookup }), timeout: TIMEOUT_MS, signal: AbortSignal.timeout(TIMEOUT_MS), maxHeaderSize: 16_384,
      headers: {
        'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body), 'User-Agent': `purser/${VERSION}`,
        'Purser-Event-Id': id, 'Purser-Signature': signature(secret, body, now),
      },
    }, (response) => {
      const { statusCode = 0 } = response;
      response.on('error', () => undefined).destroy();
      if (statusCode >= 200 && statusCode < 300) resolve();
      else reject(failure(`the receiver answered ${String(statusCode)}`));
    });
    request.on('error', (error: NodeJS.ErrnoException) => reject(failure(error.name === 'TimeoutError' || error.name === 'AbortError' ? 'no answer in time' : error.code ?? error.name)));
    request.end(body);
  });
}

/** Without a shell, without the environment of the core, and without its files. */
function run([program, ...args]: readonly [string, ...string[]], input: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'ignore'], env: { PATH: '/usr/local/bin:/usr/bin:/bin' }, cwd: '/', timeout: COMMAND_MS, killSignal: 'SIGKILL' });
    child.once('error', (error: NodeJS.ErrnoException) => reject(failure(error.code ?? error.name)));
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else reject(failure(code === null ? `the command was ended by ${signal ?? 'a signal'}` : `the command ended with ${String(code)}`));
    });
    // A program that does not read is its own affair.
    child.stdin.on('error', () => undefined).end(input);
  });
}

function failure(reason: string): PurserError {
  return new PurserError('ERR_NOTIFY_DELIVERY', reason, { hint: 'see "notify" in the configuration file of the server' });
}

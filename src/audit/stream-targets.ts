// Where a StreamAuditDevice sends to: a TCP or unix stream socket, or the system's log by logger(1). Node opens no datagram
// socket of the unix kind, which is what syslog listens on, so the standard program does it.

import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

import { PurserError } from '../lib/errors.ts';

export const SYSLOG_FACILITIES = ['auth', 'authpriv', 'daemon', 'user', 'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'] as const;
const LOGGER = '/usr/bin/logger';
/** logger cuts longer lines apart; syslog's sockets take about 200 KiB. */
export const MAX_SYSLOG_BYTES = 64 * 1024;
/** A logger that finds no syslog ends at once. */
const LOGGER_START_MS = 150;

export type SocketTarget = { readonly path: string } | { readonly host: string; readonly port: number };

/** @throws the system's error */
export function openSocket(target: SocketTarget, signal: AbortSignal): Promise<Writable> {
  return new Promise((resolve, reject) => {
    const socket = connect(target);
    const abort = (): void => { socket.destroy(new Error('given up')); };
    signal.addEventListener('abort', abort, { once: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      signal.removeEventListener('abort', abort);
      socket.off('error', reject);
      socket.setKeepAlive(true, 30_000);
      socket.resume(); // nothing is expected; what comes is dropped, and an end is noticed
      socket.once('end', () => socket.destroy());
      resolve(socket);
    });
  });
}

export interface SyslogTarget {
  readonly facility: (typeof SYSLOG_FACILITIES)[number];
  readonly tag: string;
  /** Instead of the system's own; a test listens there. */
  readonly socketPath?: string;
}

/** A logger process that turns each line into a message. @throws ERR_AUDIT_REFUSED when it does not stay */
export async function openSyslog({ facility, tag, socketPath }: SyslogTarget): Promise<Writable> {
  const args = ['--socket-errors=on', '--size', String(MAX_SYSLOG_BYTES), '--priority', `${facility}.info`, '--tag', tag, ...(socketPath === undefined ? [] : ['--socket', socketPath])];
  const child = spawn(LOGGER, args, { stdio: ['pipe', 'ignore', 'ignore'], env: {} });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code) => resolve(`logger ended with ${code ?? 'a signal'}`));
  });
  const reason = await Promise.race([ended, sleep(LOGGER_START_MS)]);
  if (reason !== undefined) throw new PurserError('ERR_AUDIT_REFUSED', `there is no syslog: ${reason}`, { hint: 'start a syslog daemon, and install bsdutils for /usr/bin/logger' });
  void ended.then(() => child.stdin.destroy());
  return child.stdin;
}

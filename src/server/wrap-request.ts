// What a request says about response wrapping: its header, and how a wrapping token is refused that is not good any more.

import type { IncomingMessage } from 'node:http';
import { parseDurationSeconds } from '../lib/duration.ts';
import { PurserError } from '../lib/errors.ts';
import { notValid } from './wrapping.ts';

const UNWRAP_PATHS = new Set(['sys/wrapping/unwrap', 'sys/wrapping/rewrap']);

/** Seconds for which the response is to be wrapped, or undefined. @throws ERR_REQUEST_INVALID */
export function wrapTtlOf({ headers }: IncomingMessage): number | undefined {
  const text = headers['x-vault-wrap-ttl'];
  if (text === undefined) return undefined;
  let seconds;
  try {
    seconds = parseDurationSeconds(String(text));
  } catch (cause) {
    throw new PurserError('ERR_REQUEST_INVALID', 'X-Vault-Wrap-TTL must be a duration such as 60, 90s or 5m', { cause });
  }
  if (seconds > 0 && (headers['x-vault-wrap-format'] ?? '') !== '') {
    throw new PurserError('ERR_REQUEST_INVALID', 'wrapping tokens have no other format', { hint: 'leave X-Vault-Wrap-Format out' });
  }
  return seconds > 0 ? seconds : undefined;
}

/** For a token that is shown and not good. Whoever unwraps shows the wrapping token, and must learn that it is spent. */
export function refusalOfToken(path: string, isShown: boolean): PurserError {
  return isShown && UNWRAP_PATHS.has(path) ? notValid() : new PurserError('ERR_REQUEST_DENIED', 'permission denied');
}

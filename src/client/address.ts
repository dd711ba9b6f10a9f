// Where the core is. Guarantee: a token or a secret never travels in clear over a network: `http:` is accepted for loopback
// only, and a host name that is used over `http:` must also resolve to a loopback address at connection time.

import { PurserError } from '../lib/errors.ts';
import { isLoopbackHost } from '../lib/loopback.ts';

export interface CoreAddress {
  /** Scheme, host and port, as shown in messages; never credentials. */
  readonly origin: string;
  readonly isSecure: boolean;
  /** Host name or address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/**
 * Parses `https://host[:port]`, or `http://` with a loopback host.
 * @throws ERR_CONFIG_INVALID; the text is not quoted, since it may carry credentials
 */
export function parseAddress(text: string): CoreAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) throw invalid('it is not an https:// address');
  if (url.username !== '' || url.password !== '') throw invalid('it carries credentials');
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') throw invalid('it has more than host and port');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const isSecure = url.protocol === 'https:';
  if (!isSecure && !isLoopbackHost(host)) throw invalid('plain http is only for a core on this machine (127.0.0.1, ::1, localhost)');
  return { origin: url.origin, isSecure, host, port: Number(url.port) || (isSecure ? 443 : 80) };
}

function invalid(reason: string): PurserError {
  return new PurserError('ERR_CONFIG_INVALID', `the address of the core is not valid: ${reason}`, { hint: 'write it as https://host:8200' });
}

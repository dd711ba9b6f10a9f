// One JSON exchange with a server that an operator named: an identity provider, a Kubernetes API. It ends in time, reads a bounded answer,
// follows no redirect, uses no proxy, and speaks TLS, or plain HTTP to this machine only. Errors name no URL, header or body.

import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';

import { withDeadline } from './deadline.ts';
import { PurserError } from './errors.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { isLoopbackHost, loopbackLookup } from './loopback.ts';

export interface JsonExchange {
  readonly url: string;
  /** PEM of the only authorities to trust; undefined trusts the system's. */
  readonly certificateAuthority?: string | undefined;
  readonly method?: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: JsonObject;
  /** For everything, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number;
  /** Of the answer. Default 1 MiB. */
  readonly maxBytes?: number;
}

export interface JsonAnswer {
  readonly status: number;
  /** Undefined when the answer is not JSON. */
  readonly body: JsonValue | undefined;
}

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 1024 * 1024;

/**
 * The URL, if it is one that may be asked: `https:`, or `http:` with a loopback host.
 * @throws ERR_REQUEST_INVALID; `what` names it
 */
export function outgoingUrl(text: string, what: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url?.protocol === 'http:' && isLoopbackHost(url.hostname.replace(/^\[|\]$/g, ''));
  if (url === undefined || (url.protocol !== 'https:' && !isPlain)) throw invalid(`${what} must be an https:// URL (http:// for this machine only)`);
  if (url.username !== '' || url.password !== '') throw invalid(`${what} must not carry credentials`);
  return url;
}

/** Sends and reads. @throws ERR_AUTH_PROVIDER, also for a redirect; ERR_REQUEST_INVALID for a URL that may not be asked */
export async function exchangeJson(exchange: JsonExchange): Promise<JsonAnswer> {
  const url = outgoingUrl(exchange.url, 'the address of the server');
  const body = exchange.body === undefined ? undefined : Buffer.from(JSON.stringify(exchange.body), 'utf8');
  const abort = new AbortController();
  const timeoutMs = exchange.timeoutMs ?? TIMEOUT_MS;
  try {
    return await withDeadline(send(url, exchange, body, abort.signal), timeoutMs, () => failed(`no answer within ${timeoutMs / 1000} s`));
  } catch (error) {
    throw error instanceof PurserError ? error : failed(reasonOf(error), error);
  } finally {
    abort.abort();
  }
}

async function send(url: URL, { method = 'GET', headers, certificateAuthority, maxBytes = MAX_BYTES }: JsonExchange, body: Buffer | undefined, signal: AbortSignal): Promise<JsonAnswer> {
  const options = {
    method, signal, agent: false as const, maxHeaderSize: 16_384,
    headers: { accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }), ...headers },
  };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = url.protocol === 'https:'
      ? httpsRequest(url, { ...options, minVersion: 'TLSv1.2', ...(certificateAuthority === undefined ? {} : { ca: certificateAuthority }) })
      : httpRequest(url, { ...options, lookup: loopbackLookup });
    request.on('error', reject);
    request.once('response', resolve);
    request.end(body);
  });
  const status = response.statusCode ?? 0;
  if (status >= 300 && status < 400) throw failed('it answered with a redirect, which is not followed');
  return { status, body: parse(await readBounded(response, maxBytes)) };
}

async function readBounded(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) throw failed(`its answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

function parse(bytes: Buffer): JsonValue | undefined {
  try {
    return JSON.parse(bytes.toString('utf8')) as JsonValue;
  } catch {
    return undefined; // The parser's message quotes the body.
  }
}

function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? '';
  if (code === 'ECONNREFUSED') return 'connection refused';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'its name does not resolve';
  if (code === 'ECONNRESET') return 'the connection was cut';
  return /CERT|ISSUER|SIGNATURE|TLS|SSL|EPROTO|CA|HOSTNAME/.test(code) ? 'its certificate is not trusted, or it does not speak TLS' : 'the connection failed';
}

function failed(reason: string, cause?: unknown): PurserError {
  return new PurserError('ERR_AUTH_PROVIDER', `the identity provider could not be asked: ${reason}`,
    { hint: 'check the address and the CA certificate in the configuration of the auth method', ...(cause === undefined ? {} : { cause }) });
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}

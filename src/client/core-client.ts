// The HTTP client of the core, for agent, driver and command line. Guarantees: TLS with the CA given, or loopback; every
// call ends (deadline, bounded answer); only calls that may be repeated are repeated; no error text holds a token or a value.

import type { IncomingMessage } from 'node:http';

import type { TailFrame } from '../wire/audit-log.ts';
import type { WatchFrame } from '../wire/node-protocol.ts';
import { PurserError } from '../lib/errors.ts';
import { isJsonObject, type JsonObject } from '../lib/json.ts';
import { traceparent } from '../lib/trace.ts';
import { CoreResponseError, parseBody, protocolError, readEnvelope, type Envelope } from './response.ts';
import { withRetries } from './retry.ts';
import { Transport } from './transport.ts';

export interface CoreClientOptions {
  /** `https://host:port`, or `http://` on loopback. */
  readonly address: string;
  /** PEM of the only CA to trust; undefined trusts the system's authorities. */
  readonly certificateAuthority?: string | undefined;
  /** The token, or where to get the present one: an agent logs in again and again. */
  readonly token?: string | (() => string | undefined) | undefined;
  /** Milliseconds for one attempt. Default 30,000. */
  readonly timeoutMs?: number | undefined;
  /** Milliseconds before each further attempt of a repeatable call, each shortened at random by up to half. Default 100, 400. */
  readonly retryDelays?: readonly number[] | undefined;
  /** Largest answer in bytes. Default 32 MiB. */
  readonly maxResponseBytes?: number | undefined;
}

export interface CallOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  /** True when doing it twice is the same as doing it once. Default: true for GET, false for the others. */
  readonly isRepeatable?: boolean;
  /** Asks the core to wrap the answer, for a duration such as `60` or `5m`. */
  readonly wrapTtl?: string;
}

export interface WatchOptions {
  /** The stream to resume, and the last sequence number that was handled. */
  readonly stream?: string | undefined;
  readonly after?: number | undefined;
  /** Also hear when grants change; such a stream is never resumed, and refused when the core does not confirm it. */
  readonly grants?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds without a byte before the stream counts as dead. Default 30,000. */
  readonly silenceMs?: number | undefined;
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_RETRY_DELAYS_MS = [100, 400];
const TOKEN = /^[\x21-\x7e]{1,8192}$/;

export class CoreClient {
  readonly #transport: Transport;
  readonly #token: () => string | undefined;
  readonly #timeoutMs: number;
  readonly #retryDelays: readonly number[];

  /** @throws ERR_CONFIG_INVALID for an address that is malformed or plain http to another machine */
  constructor(options: CoreClientOptions) {
    const { token } = options;
    this.#transport = new Transport(options);
    this.#token = typeof token === 'function' ? token : () => token;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#retryDelays = options.retryDelays ?? DEFAULT_RETRY_DELAYS_MS;
  }

  /** Scheme, host and port, for messages. */
  get address(): string {
    return this.#transport.address.origin;
  }

  get hasToken(): boolean {
    return this.#token() !== undefined;
  }

  /**
   * One call below `/v1/`; the path is given decoded, and each segment is encoded here.
   * @throws CoreResponseError (ERR_CLIENT_RESPONSE), ERR_CLIENT_UNREACHABLE, ERR_CLIENT_TLS, ERR_CLIENT_PROTOCOL
   */
  async request(method: Method, path: string, body?: object, options: CallOptions = {}): Promise<Envelope> {
    const token = this.#token();
    const exchange = {
      method, path: encodePath(path, options.query), headers: { ...headersFor(method, token), ...(options.wrapTtl === undefined ? {} : { 'x-vault-wrap-ttl': options.wrapTtl }) },
      body: body === undefined ? undefined : Buffer.from(JSON.stringify(body), 'utf8'),
      timeoutMs: options.timeoutMs ?? this.#timeoutMs, signal: options.signal,
    };
    const attempt = async () => readEnvelope(await this.#transport.send(exchange), token);
    return options.isRepeatable ?? method === 'GET' ? withRetries(this.#retryDelays, options.signal, attempt) : attempt();
  }

  /** `data` of a read. A secret that is not there throws CoreResponseError with status 404. */
  async read(path: string, query?: CallOptions['query'], options: CallOptions = {}): Promise<JsonObject> {
    return (await this.request('GET', path, undefined, { ...options, query })).data ?? {};
  }

  /** The names below a path; none is an empty list. */
  async list(path: string, options: CallOptions = {}): Promise<string[]> {
    try {
      // GET with list=true: Node's HTTP parser takes no LIST verb on a kept connection.
      const { data } = await this.request('GET', path, undefined, { ...options, query: { ...options.query, list: true } });
      const keys = data?.['keys'];
      if (!Array.isArray(keys)) throw protocolError('a list without keys');
      return keys.filter((key) => typeof key === 'string');
    } catch (error) {
      if (error instanceof CoreResponseError && error.status === 404 && error.messages.length === 0) return [];
      throw error;
    }
  }

  /** Writes, and gives `data` of the answer (empty when the core has nothing to say). */
  async write(path: string, body: object = {}, options: CallOptions = {}): Promise<JsonObject> {
    return (await this.request('POST', path, body, options)).data ?? {};
  }

  /** JSON merge patch (RFC 7396). */
  async patch(path: string, body: object, options: CallOptions = {}): Promise<JsonObject> {
    return (await this.request('PATCH', path, body, options)).data ?? {};
  }

  async delete(path: string, options: CallOptions = {}): Promise<void> {
    await this.request('DELETE', path, undefined, options);
  }

  /** `auth` of a login or token creation. @throws ERR_CLIENT_PROTOCOL when there is none */
  async authenticate(path: string, body: object): Promise<JsonObject> {
    const { auth } = await this.request('POST', path, body);
    if (auth === undefined) throw protocolError('a login without a token');
    return auth;
  }

  /**
   * One call whose answer the core keeps for whoever shows the wrapping token.
   * @returns Vault's `wrap_info`: token, accessor, ttl, creation_path
   * @throws ERR_CLIENT_PROTOCOL when there was nothing to wrap, such as after a delete
   */
  async wrap(wrapTtl: string, method: Method, path: string, body?: object, options: CallOptions = {}): Promise<JsonObject> {
    if (!/^[0-9a-zµ.]{1,32}$/.test(wrapTtl)) throw new PurserError('ERR_CONFIG_INVALID', 'the time to wrap an answer for is a duration such as 60s or 5m');
    const { body: { wrap_info: info } } = await this.request(method, path, body, { ...options, wrapTtl });
    if (!isJsonObject(info)) throw protocolError('nothing to wrap');
    return info;
  }

  /** The body of sys/health with its status, whatever it says: 200 active, 429 standby, 501 not initialised, 503 sealed. */
  async health(options: CallOptions = {}): Promise<{ readonly status: number; readonly body: JsonObject }> {
    const exchange = { method: 'GET', path: encodePath('sys/health'), headers: headersFor('GET', undefined), timeoutMs: options.timeoutMs ?? this.#timeoutMs, signal: options.signal };
    return withRetries(this.#retryDelays, options.signal, async () => {
      const response = await this.#transport.send(exchange);
      return { status: response.status, body: parseBody(response) };
    });
  }

  /**
   * The watch stream of this node; ends when the core ends it. Resume with the stream of the hello frame and the last `seq`.
   * @throws as `request`; ERR_CLIENT_UNREACHABLE also when the line breaks, is silent too long or the signal fires
   */
  async *watch(options: WatchOptions = {}): AsyncGenerator<WatchFrame, void, undefined> {
    // Only agents watch; the command line starts without the frames and their schemas.
    const { readFrames } = await import('./watch.ts');
    const path = encodePath('node/watch', { stream: options.stream, after: options.after, grants: options.grants });
    for await (const frame of this.#stream(path, options.signal, (response) => readFrames(response, options.silenceMs))) {
      // Who answers from memory must not take silence about grants for their being as they were.
      if (frame.type === 'hello' && options.grants === true && frame.grants !== true) throw protocolError('a watch stream that would not tell of grants');
      yield frame;
    }
  }

  /** The audit log from now on (`sys/audit/tail`); ends when the core ends it. @throws as `watch` */
  async *auditTail(query: CallOptions['query'], signal?: AbortSignal): AsyncGenerator<TailFrame, void, undefined> {
    const { readTail } = await import('./watch.ts');
    yield* this.#stream(encodePath('sys/audit/tail', query), signal, readTail);
  }

  async *#stream<T>(path: string, signal: AbortSignal | undefined, read: (response: IncomingMessage) => AsyncGenerator<T, void, undefined>): AsyncGenerator<T, void, undefined> {
    const token = this.#token();
    const response = await this.#transport.open({ method: 'GET', path, headers: headersFor('GET', token), timeoutMs: this.#timeoutMs, signal });
    try {
      if (response.statusCode !== 200) readEnvelope(await this.#transport.read(response), token);
      yield* read(response);
    } catch (error) {
      throw this.#transport.explain(error, signal);
    } finally {
      response.destroy();
    }
  }

  /** Closes the connections; calls under way fail. */
  close(): void {
    this.#transport.close();
  }
}

/** Longest path and query sent, in bytes: below Node's limit of 16 KiB for all headers, so that the core can answer. */
const MAX_PATH_BYTES = 8_192;

function encodePath(path: string, query: CallOptions['query'] = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value));
  const encoded = `/v1/${path.split('/').map(encodeSegment).join('/')}${search.size === 0 ? '' : `?${search.toString()}`}`;
  if (encoded.length > MAX_PATH_BYTES) throw new PurserError('ERR_REQUEST_TOO_LARGE', 'the path is too long');
  return encoded;
}

function encodeSegment(segment: string): string {
  try {
    return encodeURIComponent(segment);
  } catch {
    throw new PurserError('ERR_REQUEST_INVALID', 'the path is not valid Unicode');
  }
}

function headersFor(method: Method, token: string | undefined): Record<string, string> {
  if (token !== undefined && !TOKEN.test(token)) {
    throw new PurserError('ERR_CONFIG_INVALID', 'the token has a space, a line break or another character no token has', { hint: 'log in again, or set PURSER_TOKEN anew' });
  }
  const trace = traceparent();
  return {
    accept: 'application/json',
    ...(trace === undefined ? {} : { traceparent: trace }),
    // Vault's guard against forged requests from a browser; its agents may demand it.
    'x-vault-request': 'true',
    ...(method === 'GET' || method === 'DELETE' ? {} : { 'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json' }),
    ...(token === undefined ? {} : { 'x-vault-token': token }),
  };
}

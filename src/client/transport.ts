// One HTTP exchange with the core over a keep-alive connection: deadline, bounded body, no redirect, no proxy, and TLS that
// trusts exactly the CA given. Faults of the connection become ERR_CLIENT_UNREACHABLE or ERR_CLIENT_TLS, which name the
// address and never a header or a body.

import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

import { PurserError, isPurserError, messageOf } from '../lib/errors.ts';
import { loopbackLookup } from '../lib/loopback.ts';
import { parseAddress, type CoreAddress } from './address.ts';
import { protocolError, type RawResponse } from './response.ts';

export interface TransportOptions {
  /** `https://host:port`, or `http://` on loopback. */
  readonly address: string;
  /** PEM of the only CA to trust; undefined trusts the system's authorities. */
  readonly certificateAuthority?: string | undefined;
  /** Largest response body in bytes. Default 32 MiB. */
  readonly maxResponseBytes?: number | undefined;
  /** Take any certificate. Only for fetching the CA that is then compared with the hash in a join token. */
  readonly trustAnyCertificate?: boolean;
}

export interface Exchange {
  readonly method: string;
  /** Path and query, encoded, from `/`. */
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body?: Buffer | undefined;
  /** Milliseconds for the whole exchange, body included. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_MAX_RESPONSE_BYTES = 32 * 1024 * 1024;
/** Below Node's default server keep-alive of 5 s, so that an idle connection is not used in the moment the core closes it. */
const IDLE_MS = 4_000;

export class Transport {
  readonly address: CoreAddress;
  readonly #agent: HttpAgent;
  readonly #maxResponseBytes: number;

  /** @throws ERR_CONFIG_INVALID for an address that is malformed or plain http to another machine */
  constructor(options: TransportOptions) {
    this.address = parseAddress(options.address);
    this.#maxResponseBytes = options.maxResponseBytes ?? DEFAULT_MAX_RESPONSE_BYTES;
    this.#agent = this.address.isSecure
      ? new HttpsAgent({
        keepAlive: true, timeout: IDLE_MS, minVersion: 'TLSv1.2', rejectUnauthorized: options.trustAnyCertificate !== true,
        ...(options.certificateAuthority === undefined ? {} : { ca: options.certificateAuthority }),
      })
      : new HttpAgent({ keepAlive: true, timeout: IDLE_MS, lookup: loopbackLookup });
  }

  /** Sends a request and reads the whole answer. @throws ERR_CLIENT_UNREACHABLE, ERR_CLIENT_TLS, ERR_CLIENT_PROTOCOL */
  async send(exchange: Exchange): Promise<RawResponse> {
    return this.#exchange(exchange, (response) => this.read(response));
  }

  /** Sends a request and hands over the answer as it arrives; the timeout covers the time up to the headers. */
  async open(exchange: Exchange): Promise<IncomingMessage> {
    return this.#exchange(exchange, async (response) => response);
  }

  /** Reads an opened answer to its end. */
  async read(response: IncomingMessage): Promise<RawResponse> {
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > this.#maxResponseBytes) throw protocolError(`more than ${this.#maxResponseBytes} bytes`);
      chunks.push(chunk);
    }
    return { status: response.statusCode ?? 0, body: Buffer.concat(chunks, length) };
  }

  close(): void {
    this.#agent.destroy();
  }

  async #exchange<T>(exchange: Exchange, consume: (response: IncomingMessage) => Promise<T>): Promise<T> {
    let timeout: Error | undefined;
    let request: ClientRequest | undefined;
    const deadline = setTimeout(() => {
      timeout = new Error(`no answer within ${exchange.timeoutMs / 1000} s`);
      request?.destroy(timeout);
    }, exchange.timeoutMs);
    try {
      request = this.#start(exchange);
      return await consume(await this.#answerTo(request, exchange.body));
    } catch (error) {
      // A fault during the body shows as a plain "aborted"; the deadline is the true reason.
      throw this.explain(timeout ?? error, exchange.signal);
    } finally {
      clearTimeout(deadline);
    }
  }

  #start(exchange: Exchange): ClientRequest {
    exchange.signal?.throwIfAborted();
    const start = this.address.isSecure ? httpsRequest : httpRequest;
    return start({
      agent: this.#agent, host: this.address.host, port: this.address.port, method: exchange.method, path: exchange.path, headers: exchange.headers,
      ...(exchange.signal === undefined ? {} : { signal: exchange.signal }),
    });
  }

  #answerTo(request: ClientRequest, body: Buffer | undefined): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      // Stays attached: an error after the headers also reaches the response, and an unheard 'error' would end the process.
      request.on('error', reject);
      request.once('response', resolve);
      request.end(body);
    });
  }

  /** The PurserError for a fault of an exchange or of an opened answer. */
  explain(error: unknown, signal: AbortSignal | undefined): PurserError {
    if (isPurserError(error)) return error;
    if (signal?.aborted === true) return new PurserError('ERR_CLIENT_UNREACHABLE', 'the request was given up', { cause: error });
    const { origin } = this.address;
    const code = (error as NodeJS.ErrnoException | undefined)?.code ?? '';
    if (isCertificateFault(code)) {
      return new PurserError('ERR_CLIENT_TLS', `the certificate of ${origin} is not trusted: ${messageOf(error)}`,
        { hint: certificateHint(code), cause: error });
    }
    return new PurserError('ERR_CLIENT_UNREACHABLE', `the core at ${origin} cannot be reached: ${reasonOf(error, code)}`,
      { hint: `check the address (PURSER_ADDR) and that purser server runs there${code === 'ECONNRESET' && origin.startsWith('http:') ? ': a core with TLS wants https://' : ''}`, cause: error });
  }
}

function certificateHint(code: string): string {
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') return 'check the clocks; then restart the server, which makes its own certificate anew, or replace the one that you gave it';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'use a name that the certificate has, or give the server this one (purser server --tls-name)';
  return 'give the CA of the core (PURSER_CACERT); if nobody changed it, somebody may be in between';
}

/** OpenSSL's X509_V_ERR_* names as Node gives them (nodejs.org/api/tls.html#x509-certificate-error-codes) and Node's own. */
function isCertificateFault(code: string): boolean {
  return code === 'ERR_TLS_CERT_ALTNAME_INVALID' || /CERT|ISSUER|SIGNATURE|^CRL_|^INVALID_CA$|^INVALID_PURPOSE$|^PATH_LENGTH_EXCEEDED$|^HOSTNAME_MISMATCH$/.test(code);
}

function reasonOf(error: unknown, code: string): string {
  if (code === 'ECONNREFUSED') return 'connection refused';
  if (code === 'ECONNRESET') return 'the connection was cut';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'the name does not resolve';
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) return 'it does not speak TLS';
  if (code.startsWith('HPE_')) return 'it does not speak HTTP';
  return code === '' ? messageOf(error) : code;
}

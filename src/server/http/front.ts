// The HTTP front: one plain (request, response) handler on node:http or node:https, with every limit of the transport in one
// place. It answers whatever happens: an unexpected error is a 500 that says nothing, and a log line without values.

import { randomUUID } from 'node:crypto';
import { createServer as createHttpServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Logger } from 'pino';
import { isPurserError, messageOf, PurserError } from '../../lib/errors.ts';
import { traceIdOf } from '../../lib/trace.ts';
import { isServerFault, replyForError } from '../error-status.ts';
import { acceptListVerb, listVerb } from './list-verb.ts';
import { errorReply, send, type Reply } from './reply.ts';
import { parseTarget, type Target } from './request-path.ts';

const LIMITS: ServerOptions = {
  maxHeaderSize: 16_384,
  /** A slow sender of headers or body holds a connection this long at most, in milliseconds. */
  headersTimeout: 10_000,
  requestTimeout: 90_000,
  connectionsCheckingInterval: 2_000,
  keepAliveTimeout: 75_000,
  noDelay: true,
};
/** How long a connection may stand still between a request and the end of its answer, in milliseconds: who does not read must not hold it for ever. */
const STANDSTILL_MILLISECONDS = 300_000;
/** Ten thousand watch streams, and room for everybody else. */
const MAX_CONNECTIONS = 12_000;
/** Answers also to HEAD, for load balancers. */
const HEAD_PATH = 'sys/health';

export interface Incoming {
  readonly id: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly target: Target;
}

/** Serves one request; undefined: it writes the response itself (a stream). */
export type RequestHandler = (incoming: Incoming) => Promise<Reply | undefined>;

/** The listener, not listening yet. Without `tls` it speaks plain HTTP. @param page answers for the web page, outside the API */
export function createFront(handler: RequestHandler, log: Logger, tls: { readonly certificate: string; readonly key: string } | undefined, page?: RequestListener): Server {
  const server = tls === undefined
    ? createHttpServer(LIMITS)
    : createHttpsServer({ ...LIMITS, cert: tls.certificate, key: tls.key, minVersion: 'TLSv1.2', handshakeTimeout: LIMITS.headersTimeout! });
  server.maxConnections = MAX_CONNECTIONS;
  server.maxHeadersCount = 100;
  server.timeout = STANDSTILL_MILLISECONDS;
  acceptListVerb(server);
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (page !== undefined && isForPage(request)) page(request, response);
    else void answer(server, handler, log, request, response);
  });
  return server;
}

function isForPage({ method, url = '' }: IncomingMessage): boolean {
  return (method === 'GET' || method === 'HEAD') && (url === '/' || url === '/ui' || url.startsWith('/ui/') || url.startsWith('/ui?'));
}

async function answer(server: Server, handler: RequestHandler, log: Logger, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const verb = listVerb(request);
  if (verb === 'ignore') return;
  const id = randomUUID();
  const isHead = request.method === 'HEAD';
  const reply = (content: Reply): void => {
    if (verb === 'list' || !server.listening) response.setHeader('Connection', 'close');
    send(response, content, isHead);
  };
  try {
    const target = parseTarget(verb === 'list' ? 'LIST' : request.method ?? '', request.url ?? '');
    if (isHead && target !== undefined && target.path !== HEAD_PATH) throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
    const content = target === undefined ? errorReply(404, []) : await handler({ id, request, response, target });
    if (content !== undefined) reply(content);
  } catch (error) {
    if (isServerFault(error)) logFault(log, { request: id, trace: traceIdOf(request.headers['traceparent']) }, error);
    if (response.headersSent) response.destroy();
    else reply(replyForError(error));
  }
}

/** Where it happened, and for our own errors why; a foreign error's message could quote a value, so only its class is logged. */
function logFault(log: Logger, about: { readonly request: string; readonly trace: string | undefined }, error: unknown): void {
  if (isPurserError(error)) log.error({ ...about, code: error.code, reason: messageOf(error) }, 'a request failed');
  else log.error({ ...about, class: error instanceof Error ? error.name : typeof error, at: error instanceof Error ? frames(error) : [] }, 'a request failed unexpectedly');
}

function frames(error: Error): string[] {
  return (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line)).slice(0, 6).map((line) => line.trim());
}

// Vault's verb LIST on Node's HTTP parser, which refuses it (HPE_INVALID_METHOD) before any handler runs. All other traffic
// takes the native path untouched: only after that error is the connection taken over, its bytes replayed to a fresh parser
// as `GET`, and the request marked as a list. Framing, limits and timeouts stay with Node's parser, so there is no second
// one to smuggle requests past. The reply to a LIST closes the connection. Works split at any byte, pipelined and under TLS.

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Duplex } from 'node:stream';
import { Server as TlsServer } from 'node:tls';
import { refuseRaw } from './raw-refusal.ts';

const VERB = Buffer.from('LIST ');
/** The parser gives up at the S: `LI` could still have become LINK. */
const BYTES_BEFORE_FAILURE = 2;
const MAX_GATHERED_BYTES = 65_536;
const GATHER_TIMEOUT_MILLISECONDS = 10_000;

interface ParseError extends Error {
  readonly code?: string;
  readonly bytesParsed?: number;
  readonly rawPacket?: Buffer;
}

/** Node keeps the response that is being written on its socket; needed so that a pipelined LIST waits for its turn. */
interface HttpSocket extends Duplex {
  readonly _httpMessage?: ServerResponse | null;
  readonly remoteAddress?: string;
  setTimeout?(milliseconds: number): unknown;
  destroySoon?(): void;
}

/** What a connection becomes once it sent LIST: the same bytes, with the verb replaced. Serves exactly one request. */
class ListConnection extends Duplex {
  readonly remoteAddress: string | undefined;
  #socket: HttpSocket;
  isServed = false;

  constructor(socket: HttpSocket, head: Buffer) {
    super();
    this.#socket = socket;
    this.remoteAddress = socket.remoteAddress;
    this.push(Buffer.concat([Buffer.from('GET '), head.subarray(VERB.length)]));
    socket.on('data', (chunk: Buffer) => { if (!this.push(chunk)) socket.pause(); });
    socket.on('end', () => this.push(null));
    socket.on('close', () => this.destroy());
    socket.resume();
  }

  /** True for the LIST itself, false for anything pipelined behind it. */
  takeTurn(): boolean {
    const isFirst = !this.isServed;
    this.isServed = true;
    return isFirst;
  }

  override _read(): void { this.#socket.resume(); }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void { this.#socket.write(chunk, done); }
  override _final(done: () => void): void { this.#socket.end(done); }
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroySoon?.();
    done(error);
  }
}

/**
 * Tells how a request came in: by its own verb, as LIST, or pipelined behind a LIST (then it must not run: the
 * connection closes after the LIST, and its sender repeats it on another one).
 */
export function listVerb(request: IncomingMessage): 'no' | 'list' | 'ignore' {
  const socket: Duplex = request.socket;
  if (!(socket instanceof ListConnection)) return 'no';
  return socket.takeTurn() ? 'list' : 'ignore';
}

/** Lets `server` take LIST requests, and answers every other parse error with a JSON body and the end of the connection. */
export function acceptListVerb(server: Server): void {
  const taken = new WeakSet<Duplex>();
  server.on('clientError', (error: ParseError, socket: HttpSocket) => {
    if (taken.has(socket)) return; // the abandoned parser's own timeout
    if (socket instanceof ListConnection && socket.isServed) return; // behind a LIST nothing runs; its reply closes the connection
    const head = listHead(error);
    if (head === undefined) return refuseRaw(socket, error.code);
    taken.add(socket);
    takeOver(server, socket, head);
  });
}

/** The bytes from the verb on, when the parse error may be the start of a LIST. Bytes of an earlier packet were already matched by the parser. */
function listHead(error: ParseError): Buffer | undefined {
  if (error.code !== 'HPE_INVALID_METHOD' || error.rawPacket === undefined) return undefined;
  const start = (error.bytesParsed ?? 0) - BYTES_BEFORE_FAILURE;
  const head = start >= 0 ? error.rawPacket.subarray(start) : Buffer.concat([VERB.subarray(0, -start), error.rawPacket]);
  return startsLikeList(head) ? head : undefined;
}

function startsLikeList(head: Buffer): boolean {
  const length = Math.min(head.length, VERB.length);
  return head.subarray(0, length).equals(VERB.subarray(0, length));
}

/** Detaches the failed parser, waits for the whole verb and for responses still being written, then replays. */
function takeOver(server: Server, socket: HttpSocket, head: Buffer): void {
  let gathered = head;
  let isDone = false;
  const refuse = (code?: string): void => { isDone = true; clearTimeout(timer); refuseRaw(socket, code); };
  const timer = setTimeout(() => refuse('ERR_HTTP_REQUEST_TIMEOUT'), GATHER_TIMEOUT_MILLISECONDS);
  const onData = (chunk: Buffer): void => {
    gathered = Buffer.concat([gathered, chunk]);
    if (gathered.length > MAX_GATHERED_BYTES) socket.pause();
    proceed();
  };
  const proceed = (): void => {
    if (isDone || gathered.length < VERB.length) return;
    if (!startsLikeList(gathered)) return refuse();
    const pending = socket._httpMessage;
    if (pending) { pending.removeListener('close', proceed); pending.once('close', proceed); return; }
    isDone = true;
    clearTimeout(timer);
    for (const event of ['data', 'end', 'timeout', 'drain']) socket.removeAllListeners(event);
    socket.setTimeout?.(0);
    // The event on which a server begins to speak HTTP; a TLS server's `connection` comes before its handshake.
    server.emit(server instanceof TlsServer ? 'secureConnection' : 'connection', new ListConnection(socket, gathered));
  };
  socket.removeAllListeners('data');
  socket.removeAllListeners('end');
  socket.on('data', onData); // also makes Node stop feeding the socket to its failed parser
  socket.once('close', () => { isDone = true; clearTimeout(timer); });
  proceed();
}

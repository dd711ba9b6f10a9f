// The agent's end of `<run-dir>/agent.sock` (PROTOCOL.md section 2): one strict JSON line in, one line out, with
// the variables of a process behind it where there are any, then the connection ends. Mode 0600 in a 0711 directory. Bounded in everything: connections, line length, time to send the line,
// time to answer; whatever arrives, the agent lives on and the peer gets an answer.

import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { chmod } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { makeDirectory } from '../lib/make-directory.ts';
import { withDeadline } from '../lib/deadline.ts';
import { PurserError, isPurserError, messageOf } from '../lib/errors.ts';
import { MAX_SHIM_LINE_BYTES, environmentLine, eraseEnvironment, shimRequestSchema } from '../wire/shim-protocol.ts';
import type { ProcessEnvironment, ShimRequest } from '../wire/shim-protocol.ts';
import { listenOnSocket } from '../lib/unix-socket.ts';
import { traced } from '../lib/trace.ts';

/** Handles one request; what it throws becomes the `error` line that Docker shows to the user, what it gives is erased when it is sent. */
export type RuntimeHandler = (request: ShimRequest) => Promise<ProcessEnvironment | undefined>;

export interface RuntimeSocketOptions {
  readonly path: string;
  readonly handler: RuntimeHandler;
  readonly log: Logger;
  /** Connections past this number are refused at once. */
  readonly maxConnections?: number;
  /** Milliseconds a peer has to send its line. */
  readonly lineTimeoutMs?: number;
  /** Milliseconds until the peer is told that the agent takes too long; below the shim's 30 s. */
  readonly answerTimeoutMs?: number;
}

const MAX_ANSWER_BYTES = 4096;

export class RuntimeSocket {
  readonly #options: Required<RuntimeSocketOptions>;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(options: RuntimeSocketOptions) {
    this.#options = { maxConnections: 256, lineTimeoutMs: 5000, answerTimeoutMs: 27_000, ...options };
    // Half-open: a shim that shuts its writing side down after the line still gets its answer.
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket));
    this.#server.maxConnections = this.#options.maxConnections;
  }

  /**
   * Opens the socket, replacing one that nobody listens on.
   * @throws ERR_STATE_LOCKED when another agent listens there
   */
  static async listen(options: RuntimeSocketOptions): Promise<RuntimeSocket> {
    const { path } = options;
    makeDirectory(dirname(path), 0o711);
    await chmod(dirname(path), 0o711);
    const runtime = new RuntimeSocket(options);
    await listenOnSocket(runtime.#server, path);
    runtime.#server.on('error', (error) => options.log.error({ err: messageOf(error) }, 'the runtime socket failed'));
    return runtime;
  }

  /** Stops accepting, and waits until the requests under way are answered. */
  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    });
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    // A peer that goes away is its own business: the container's end is told by `deleted` or by Docker.
    socket.on('error', () => socket.destroy());
    traced(() => this.#answer(socket)).catch((error: unknown) => {
      this.#options.log.error({ err: messageOf(error) }, 'runtime request failed');
      socket.destroy();
    });
  }

  async #answer(socket: Socket): Promise<void> {
    let answer = 'ok';
    let environment: ProcessEnvironment | undefined;
    try {
      const request = parseRequest(await readLine(socket, this.#options.lineTimeoutMs));
      const handled = this.#options.handler(request);
      environment = await withDeadline(handled, this.#options.answerTimeoutMs, () => {
        handled.then(eraseEnvironment, () => undefined);
        return tooLate();
      });
      if (environment !== undefined) answer = environmentLine(environment);
    } catch (error) {
      answer = `error ${oneLine(describe(error))}`;
      // Who connects and says nothing only looks whether the agent is there, as purser doctor does.
      if (socket.bytesRead > 0 || !socket.readableEnded) this.#options.log.warn({ reason: answer.slice(6) }, 'runtime request refused');
    }
    if (socket.destroyed) return eraseEnvironment(environment);
    socket.once('close', () => { eraseEnvironment(environment); });
    socket.write(`${answer}\n`);
    if (environment?.references !== undefined) socket.write(environment.values);
    socket.end(environment?.references ?? environment?.values ?? '');
  }
}

/** @throws ERR_REQUEST_INVALID for anything but one valid request; the text never quotes the input */
export function parseRequest(line: string): ShimRequest {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new PurserError('ERR_REQUEST_INVALID', 'the request of the runtime is not JSON');
  }
  const parsed = shimRequestSchema.safeParse(value);
  if (!parsed.success) {
    throw new PurserError('ERR_REQUEST_INVALID', 'the request of the runtime is not valid', { hint: 'install purser-runtime and purser from the same release' });
  }
  return parsed.data;
}

/** The text of an answer: one line of at most 4 KiB with the final newline and the word before it, valid UTF-8. */
export function oneLine(text: string): string {
  const flat = text.replace(/[\u0000-\u001f\u007f\u0085\u2028\u2029]+/g, ' ').trim();
  const bytes = Buffer.from(flat, 'utf8');
  const room = MAX_ANSWER_BYTES - 'error \n'.length;
  if (bytes.length <= room) return bytes.toString('utf8');
  return bytes.subarray(0, room - 3).toString('utf8').replace(/\ufffd+$/, '').concat('…');
}

function describe(error: unknown): string {
  if (!isPurserError(error)) return 'purser: the agent failed, see its log';
  return error.hint === undefined ? error.message : `${error.message} (hint: ${error.hint})`;
}

function tooLate(): PurserError {
  return new PurserError('ERR_CLIENT_UNREACHABLE', 'purser: the agent did not finish in time', { hint: 'see the log of the agent' });
}

function readLine(socket: Socket, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const fail = (message: string) => finish(() => reject(new PurserError('ERR_REQUEST_INVALID', message)));
    const timer = setTimeout(() => fail('the request of the runtime did not arrive in time'), timeoutMs);
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      socket.off('data', onData).off('end', onEnd).off('close', onEnd);
      socket.resume();
      settle();
    };
    const onEnd = () => fail('the request of the runtime ended before its line did');
    const onData = (chunk: Buffer) => {
      const newline = chunk.indexOf(0x0a);
      length += newline === -1 ? chunk.length : newline + 1;
      if (length > MAX_SHIM_LINE_BYTES) return fail('the request of the runtime is too long');
      chunks.push(chunk);
      if (newline === -1) return;
      if (newline !== chunk.length - 1) return fail('the request of the runtime is more than one line');
      const line = Buffer.concat(chunks).subarray(0, -1);
      finish(() => resolve(line.toString('utf8')));
    };
    socket.on('data', onData).on('end', onEnd).on('close', onEnd);
  });
}

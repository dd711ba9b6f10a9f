// The serving thread: read a request, write its reply, look for commands; blocking calls, because they cost a quarter of asynchronous ones and a
// busy main thread must not stall readers. It leaves only between two requests. Any surprise ends the whole process by SIGKILL: a normal exit would
// hang in read(2), and the holder starts a successor that loses nothing.

import { constants as os } from 'node:os';
import { readSync, writeSync } from 'node:fs';
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { PurserError, messageOf } from '../../lib/errors.ts';
import { ProcCallers } from './caller.ts';
import { Dispatcher } from './dispatch.ts';
import { FUSE_ROLE, GESTURE_PID, POSTED, READS, type Failure, type FuseWorkerData, type NumberedCommand, type Report } from './messages.ts';
import { INIT_FLAGS2, OP, REQUEST_BUFFER, REQUEST_HEADER, header, notifyResend } from './protocol.ts';
import { FuseServer } from './server.ts';
import { stateFile } from './state-file.ts';
import { isUnassigned } from './tree.ts';

/** Reports a failure that must not be survived, and ends the process so that the holder starts a successor. */
export function dieBySignal(what: string, error: unknown): never {
  try {
    writeSync(2, `purser: error: ${what}: ${error instanceof Error ? error.stack ?? error.message : String(error)}\n`);
  } finally {
    process.kill(process.pid, 'SIGKILL');
  }
  throw error; // not reached
}

function errnoOf(error: unknown): number {
  return -((error as NodeJS.ErrnoException).errno ?? 0);
}

function failureOf(error: unknown): Failure | undefined {
  return error instanceof PurserError ? { code: error.code, message: error.message, hint: error.hint } : undefined;
}

const { EINTR, EAGAIN, ENOENT, ENODEV, ECONNABORTED, EPERM } = os.errno;

class Loop {
  readonly #fd: number;
  readonly #signal: Int32Array;
  readonly #port: MessagePort;
  readonly #server: FuseServer;
  readonly #buffer = Buffer.alloc(REQUEST_BUFFER);
  #seen = 0;
  #isReady = false;
  #isStopped = false;

  constructor(data: FuseWorkerData, port: MessagePort) {
    this.#fd = data.fuseFd;
    this.#signal = new Int32Array(data.signal);
    this.#port = port;
    this.#server = new FuseServer([stateFile(data.stateFds[0]), stateFile(data.stateFds[1])], new ProcCallers(() => Atomics.load(this.#signal, GESTURE_PID)));
  }

  run(): void {
    this.#takeOver();
    while (!this.#isStopped) {
      const length = this.#read();
      if (length === undefined) return;
      if (length === 0) continue;
      const request = this.#buffer.subarray(0, length);
      if (this.#mustNoteRequests) this.#server.log.saveInFlight(request, length);
      this.#answer(request);
      if (!this.#isReady) this.#announceReady();
      this.#flushEvents(false);
      const posted = Atomics.load(this.#signal, POSTED);
      if (posted !== this.#seen) this.#obey(posted);
      if (!this.#server.dispatcher.waiting.isEmpty) this.#letWait();
    }
    this.#flushEvents(true);
    this.#post({ type: 'stopped' });
  }

  /** A dead predecessor may have read a request and not answered it: have it sent again, or answer what it noted down. */
  #takeOver(): void {
    try {
      writeSync(this.#fd, notifyResend());
    } catch (error) {
      if (errnoOf(error) === EPERM) return; // not mounted: the first read says so
    }
    const { inFlight } = this.#server;
    if (this.#mustNoteRequests && inFlight !== undefined && Dispatcher.isRepeatable(inFlight)) this.#answer(inFlight);
    this.#announceReady();
  }

  /** Kernels before 6.9 cannot send a request again, so the one in hand is noted in the state; so is INIT, before anything is agreed. */
  get #mustNoteRequests(): boolean {
    return ((this.#server.agreed?.flags2 ?? 0) & INIT_FLAGS2.HAS_RESEND) === 0;
  }

  #announceReady(): void {
    if (this.#server.isRefused) {
      this.#post({ type: 'lost', failure: { code: 'ERR_FUSE_PROTOCOL', message: 'the kernel speaks a FUSE version this program does not know', hint: 'Linux 4.20 or newer is needed' } });
      this.#isStopped = true;
    }
    if (this.#server.agreed === undefined) return;
    this.#isReady = true;
    this.#post({ type: 'ready', outcome: this.#server.recovered() });
  }

  /** One request into the buffer: its length, 0 to try again, undefined when the mount is gone. */
  #read(): number | undefined {
    try {
      const length = readSync(this.#fd, this.#buffer, 0, REQUEST_BUFFER, null);
      if (length < REQUEST_HEADER || header.length(this.#buffer) !== length) throw new PurserError('ERR_FUSE_PROTOCOL', 'the kernel sent a request of the wrong length');
      return length;
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === EINTR || errno === EAGAIN || errno === ENOENT) return 0;
      if (errno !== ENODEV && errno !== ECONNABORTED && errno !== EPERM) throw error;
      this.#post({ type: 'lost', failure: { code: 'ERR_FUSE_UNAVAILABLE', message: `the filesystem is not mounted: ${messageOf(error)}`, hint: 'restart the agent together with its holder' } });
      return undefined;
    }
  }

  /** Answers those who need not wait any longer; the main thread's tick comes when the time of the others is over. */
  #letWait(): void {
    const { dispatcher: { waiting }, tree } = this.#server;
    for (const request of waiting.take(Date.now(), (container) => !isUnassigned(container) || tree.containers.get(container.id) !== container)) this.#answer(request, true);
    if (!waiting.isEmpty) this.#post({ type: 'waiting' });
  }

  #answer(request: Buffer, isLast = false): void {
    const { dispatcher } = this.#server;
    const length = dispatcher.handle(request, isLast);
    if (length === 0) return;
    try {
      writeSync(this.#fd, dispatcher.reply, 0, length);
    } catch (error) {
      // ENOENT: the asker was killed meanwhile, or a predecessor had answered. ENODEV and ECONNABORTED come back at the next read.
      if (![ENOENT, ENODEV, ECONNABORTED].includes(errnoOf(error))) throw error;
    }
    if (header.opcode(request) !== OP.READ) return;
    dispatcher.scrub(length);
    Atomics.add(this.#signal, READS, 1);
  }

  #obey(posted: number): void {
    this.#seen = posted;
    for (let next = receiveMessageOnPort(this.#port); next !== undefined; next = receiveMessageOnPort(this.#port)) {
      const command = next.message as NumberedCommand;
      try {
        const outcome = this.#server.execute(command, Date.now());
        if (command.op === 'stop') this.#isStopped = true;
        if (command.op === 'tick') this.#flushEvents(true);
        // Moved, not copied, so that values leave this thread.
        this.#post({ type: 'done', sequence: command.sequence, outcome }, outcome.values?.map(({ content }) => content.buffer as ArrayBuffer));
      } catch (error) {
        const failure = failureOf(error);
        if (failure === undefined) throw error;
        this.#post({ type: 'failed', sequence: command.sequence, failure });
      } finally {
        eraseContents(command);
      }
    }
  }

  #flushEvents(isTick: boolean): void {
    const events = this.#server.events.flush(isTick);
    if (events !== undefined) this.#post({ type: 'events', events });
  }

  #post(report: Report, transfer: readonly ArrayBuffer[] = []): void {
    this.#port.postMessage(report, transfer);
  }
}

function eraseContents(command: NumberedCommand): void {
  const files = command.op === 'add' ? command.tree.files : command.op === 'replace' ? command.updates.flatMap((update) => update.files) : [];
  for (const file of files) file.content.fill(0);
}

/** The body of the serving thread; main.ts calls it when workerData.role is `fuse-server`. Returns when told to stop or when the mount is gone. */
export function runFuseWorker(): void {
  const data = workerData as FuseWorkerData;
  if (parentPort === null || data.role !== FUSE_ROLE) throw new PurserError('ERR_CONFIG_INVALID', 'this is not the filesystem thread');
  try {
    new Loop(data, parentPort).run();
    parentPort.close();
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined || failure.code === 'ERR_FUSE_PROTOCOL') dieBySignal('the filesystem thread failed', error);
    parentPort.postMessage({ type: 'lost', failure } satisfies Report);
  }
}

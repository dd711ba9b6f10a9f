// The agent's gestures on its own mount: rename(2) of a staged name, a one-byte touch, a look at the wake node. They run in a child process, because a
// thread that waits for a request which a killed server had already read cannot die; in the agent itself it would keep a `kill -9` from ever
// finishing, and with it the successor from starting. The child needs nothing of the agent but a pipe and goes away with it, or after a while
// without work. Its process id stands in shared memory, by which the server knows its requests.

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface } from 'node:readline';

const IDLE_MS = 300_000;

/**
 * Plain JavaScript for `node -e`, so that it needs no file: one gesture per line on stdin, one line with an errno name or nothing as answer; the answers
 * to lines that came together go together, because each write would wake the agent. Without the
 * handler SIGUSR1 would open a debugger port, through which any user could run code as root.
 */
const PROGRAM = `
const fs = require('node:fs');
process.on('SIGUSR1', () => undefined);
const touch = (path) => { const fd = fs.openSync(path, 'r+'); try { fs.writeSync(fd, '\\n'); } finally { fs.closeSync(fd); } };
const gestures = { rename: fs.renameSync, touch, stat: fs.statSync };
const input = Buffer.alloc(65536);
let text = '';
for (let n; (n = fs.readSync(0, input, 0, input.length, null)) > 0;) {
  const lines = (text + input.latin1Slice(0, n)).split('\\n');
  text = lines.pop();
  let answers = '';
  for (const line of lines) {
    const [name, ...args] = JSON.parse(line);
    let answer = '';
    try { gestures[name](...args); } catch (error) { answer = error.code ?? 'EIO'; }
    answers += answer + '\\n';
  }
  fs.writeSync(1, answers);
}`;

export type Gesture = readonly ['rename', from: string, to: string] | readonly ['touch', path: string] | readonly ['stat', path: string];

/** One line of ASCII, whatever the names hold. */
function encode(gesture: Gesture): string {
  return `${JSON.stringify(gesture).replace(/[\u0080-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)}\n`;
}

/** Gets an errno name, '' for success. */
type Answer = (code: string) => void;

interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  /** In the order of the lines sent. */
  readonly waiting: Answer[];
}

export class Gestures {
  readonly #onProcess: (pid: number) => void;
  #running: Running | undefined;
  #idle: NodeJS.Timeout | undefined;

  /** @param onProcess told the child's process id before its first gesture, and 0 when it has ended */
  constructor(onProcess: (pid: number) => void) {
    this.#onProcess = onProcess;
  }

  /** Performs gestures in order; resolves to their errno names, '' for success, ECHILD when the child died. Never rejects. */
  async perform(gestures: readonly Gesture[]): Promise<string[]> {
    const { child, waiting } = this.#running ?? this.#start();
    const answers = gestures.map(() => new Promise<string>((resolve) => { waiting.push(resolve); }));
    clearTimeout(this.#idle);
    child.stdin.write(gestures.map(encode).join(''));
    const codes = await Promise.all(answers);
    if (waiting.length === 0) {
      clearTimeout(this.#idle);
      this.#idle = setTimeout(() => child.stdin.end(), IDLE_MS).unref();
    }
    return codes;
  }

  /** Ends the child at once; what it has not done yet is not done. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const child = this.#running?.child;
    if (child === undefined) return;
    child.kill('SIGKILL');
    await new Promise<void>((resolve) => { child.once('close', () => resolve()); });
  }

  #start(): Running {
    const child = spawn(process.execPath, ['--title=purser-gestures', '-e', PROGRAM], { cwd: '/', env: {}, stdio: 'pipe' });
    const running: Running = { child, waiting: [] };
    this.#running = running;
    this.#onProcess(child.pid ?? 0);
    createInterface({ input: child.stdout }).on('line', (code) => running.waiting.shift()?.(code));
    child.stderr.resume();
    child.stdin.on('error', () => undefined); // EPIPE: the end of the child follows
    child.on('error', () => this.#ended(running)).on('close', () => this.#ended(running));
    return running;
  }

  #ended(running: Running): void {
    if (this.#running === running) {
      this.#running = undefined;
      this.#onProcess(0);
    }
    for (const answer of running.waiting.splice(0)) answer('ECHILD');
  }
}

// Builds purser-runtime for a test and runs it with the fake runc first in PATH and a hand-written agent on its socket.
// The run directory is compiled in (RUN_DIR), so these tests need neither root's /run nor a mount namespace.

import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '../eventually.ts';

const repository = join(fileURLToPath(import.meta.url), '..', '..', '..');
const shimSource = join(repository, 'src', 'shim');

export interface ShimRun {
  readonly status: number | null;
  readonly stderr: string;
  /** What runc was called with, or undefined when it was not. */
  readonly runcArgs: readonly string[] | undefined;
  readonly inPlace: boolean;
  readonly elapsedMs: number;
}

/** Compiles the shim to `out`; `mode` "sanitize" adds AddressSanitizer and UBSan. */
export function buildShim(out: string, mode: 'release' | 'sanitize', runDir = '/run/purser'): void {
  execFileSync('make', ['-s', '-C', shimSource, `OUT=${out}`, 'VERSION=1.2.3', `MODE=${mode}`, `RUN_DIR=${runDir}`], { stdio: 'inherit' });
}

/** A temporary directory with a built shim, a fake runc, and room for bundles and a Docker root. */
export class ShimLab {
  readonly dir = mkdtempSync(join(tmpdir(), 'purser-shim-'));
  readonly runDir = join(this.dir, 'run');
  readonly binary = join(this.dir, 'purser-runtime');
  readonly dockerRoot = join(this.dir, 'docker');
  readonly log = join(this.dir, 'log.json');
  readonly asked: string[] = [];
  readonly #record = join(this.dir, 'record');
  #agent: Server | undefined;
  #connections = 0;

  constructor(mode: 'release' | 'sanitize' = 'sanitize') {
    mkdirSync(this.runDir);
    mkdirSync(join(this.dir, 'bin'));
    const runc = join(this.dir, 'bin', 'runc');
    copyFileSync(join(repository, 'test', 'fakes', 'runc'), runc);
    chmodSync(runc, 0o755);
    buildShim(this.binary, mode, this.runDir);
  }

  /** How often somebody connected to the agent. */
  get connections(): number {
    return this.#connections;
  }

  /** Starts an agent that gives `answer` (raw bytes) to each question; undefined: never answers; null: hangs up. */
  async startAgent(answer: string | undefined | null): Promise<void> {
    this.asked.length = 0;
    this.#connections = 0;
    const server = createServer((socket) => {
      this.#connections++;
      socket.on('error', () => {});
      socket.on('data', (data) => {
        this.asked.push(data.toString());
        if (answer === null) socket.destroy();
        else if (answer !== undefined) socket.end(answer);
      });
    });
    this.#agent = server;
    await new Promise<void>((resolve) => server.listen(join(this.runDir, 'agent.sock'), resolve));
  }

  /** Waits until the agent has read `count` questions: `deleted` is not answered, so runc may be faster than the agent. */
  async untilAsked(count: number): Promise<void> {
    await eventually('the question', () => this.asked.length >= count);
  }

  async stopAgent(): Promise<void> {
    const server = this.#agent;
    this.#agent = undefined;
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }

  /** Writes a file below the lab, making its directories; returns its path. */
  write(path: string, content: string | Buffer): string {
    const full = join(this.dir, path);
    mkdirSync(join(full, '..'), { recursive: true });
    writeFileSync(full, content);
    return full;
  }

  async run(args: readonly string[], options: { path?: string; cwd?: string; exitWith?: number } = {}): Promise<ShimRun> {
    rmSync(this.#record, { force: true });
    const started = process.hrtime.bigint();
    const child = spawn(this.binary, args, {
      cwd: options.cwd ?? this.dir,
      env: {
        PATH: options.path ?? `${join(this.dir, 'bin')}:/usr/bin:/bin`,
        FAKE_RUNC_RECORD: this.#record,
        FAKE_RUNC_EXIT: String(options.exitWith ?? 0),
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (data: Buffer) => { stderr += data.toString(); });
    const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
    const elapsedMs = Number(process.hrtime.bigint() - started) / 1e6;
    const words = existsSync(this.#record) ? readFileSync(this.#record, 'utf8').split('\0').slice(0, -1) : undefined;
    return { status, stderr, runcArgs: words?.slice(1), inPlace: words?.[0] === String(child.pid), elapsedMs };
  }

  async close(): Promise<void> {
    await this.stopAgent();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

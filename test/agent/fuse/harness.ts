// A real FUSE mount for the tests, held by the test process as the holder does in production: it keeps /dev/fuse and the two state files, and hands
// them to serving children. Containers are played by cgroups of the host.

import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { decidingHierarchy } from '../../../src/agent/fuse/caller.ts';
import type { FileEvent } from '../../../src/agent/fuse/filesystem.ts';
import type { ChildCommand } from './serve-child.ts';

/** Why the real mount cannot be tested here, or false. */
export const skip: string | false = process.getuid?.() !== 0 ? 'needs root' : existsSync('/dev/fuse') ? false : 'needs /dev/fuse';

const CHILD_SOURCE = fileURLToPath(new URL('./serve-child.ts', import.meta.url));

const CLEANER = `
  cat
  umount -l "$0/fs" 2>/dev/null
  for group in "$1"-*; do
    for try in 1 2 3 4 5 6 7 8 9; do
      [ -d "$group" ] || break
      for pid in $(cat "$group/cgroup.procs"); do kill -9 "$pid"; done
      rmdir "$group" 2>/dev/null || sleep 0.1
    done
  done
  rm -rf "$0"`;

export interface TestCgroup {
  readonly path: string;
  readonly procs: string;
}

/** One serving process. */
export class ServeChild {
  readonly process: ChildProcess;
  readonly events: FileEvent[] = [];
  readonly warnings: string[] = [];
  readonly #pending = new Map<number, (line: { result?: unknown; error?: string }) => void>();
  #sequence = 0;
  readonly started: Promise<string>;
  readonly exited: Promise<{ code: number | null; signal: string | null }>;

  constructor(mount: TestMount) {
    this.process = spawn(process.execPath, [mount.program, mount.mountPoint],
      { stdio: ['pipe', 'pipe', 'inherit', mount.fuseFd, ...mount.stateFds], env: { PATH: process.env['PATH'] } });
    this.exited = new Promise((resolve) => { this.process.once('exit', (code, signal) => resolve({ code, signal })); });
    this.started = new Promise((resolve) => {
      void this.exited.then(() => resolve('exited'));
      createInterface({ input: this.process.stdout! }).on('line', (text) => {
        const line = JSON.parse(text) as { ready?: true; failed?: string; event?: FileEvent; warn?: string; sequence?: number; result?: unknown; error?: string };
        if (line.ready) resolve('ready');
        else if (line.failed !== undefined) resolve(line.failed);
        else if (line.event !== undefined) this.events.push(line.event);
        else if (line.warn !== undefined) this.warnings.push(line.warn);
        else this.#pending.get(line.sequence!)?.(line);
      });
    });
  }

  async run(command: ChildCommand): Promise<unknown> {
    const sequence = ++this.#sequence;
    const answer = new Promise<{ result?: unknown; error?: string }>((resolve) => this.#pending.set(sequence, resolve));
    this.process.stdin!.write(`${JSON.stringify({ ...command, sequence })}\n`);
    const { result, error } = await answer;
    if (error !== undefined) throw new Error(error);
    return result;
  }

  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.exited;
  }
}

export class TestMount {
  readonly directory = mkdtempSync(join(tmpdir(), 'purser-fuse-'));
  readonly mountPoint = join(this.directory, 'fs');
  readonly program = join(this.directory, 'serve-child.cjs');
  readonly fuseFd = openSync('/dev/fuse', 'r+');
  readonly stateFds: readonly [number, number];
  readonly children: ServeChild[] = [];
  readonly #cgroupPrefix: string;
  readonly #cleaner: ChildProcess;

  constructor() {
    chmodSync(this.directory, 0o755); // other users read the mount below it
    mkdirSync(this.mountPoint);
    buildSync({ entryPoints: [CHILD_SOURCE], outfile: this.program, bundle: true, platform: 'node', format: 'cjs', logLevel: 'error' });
    this.stateFds = [this.#stateFile('a'), this.#stateFile('b')];
    const controllers = decidingHierarchy(readFileSync('/proc/self/cgroup', 'utf8'), readFileSync('/proc/self/mountinfo', 'utf8'))!.split(':')[1]!;
    const root = controllers === '' ? '/sys/fs/cgroup' : join('/sys/fs/cgroup', controllers.replace('name=', ''));
    this.#cgroupPrefix = `${root}/purser-test-${randomBytes(6).toString('hex')}`;
    // Outlives the test whatever ends it, and starts when the pipe from the test process closes.
    this.#cleaner = spawn('sh', ['-c', CLEANER, this.directory, this.#cgroupPrefix], { stdio: ['pipe', 'ignore', 'inherit'], detached: true });
  }

  #stateFile(name: string): number {
    const path = join(this.directory, name);
    const fd = openSync(path, 'w+', 0o600);
    unlinkSync(path);
    return fd;
  }

  async mount(): Promise<void> {
    const options = 'nosuid,nodev,noexec,fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions';
    const child = spawn('mount', ['-i', '-t', 'fuse', '-o', options, 'purser-test', this.mountPoint], { stdio: ['ignore', 'inherit', 'inherit', this.fuseFd] });
    const [code] = await once(child, 'exit') as [number | null];
    if (code !== 0) throw new Error('mount failed');
  }

  async serve(): Promise<ServeChild> {
    const child = new ServeChild(this);
    this.children.push(child);
    const state = await child.started;
    if (state !== 'ready') throw new Error(`serving child: ${state}`);
    return child;
  }

  /** A fresh cgroup in the hierarchy that decides on this host. */
  cgroup(): TestCgroup {
    const directory = `${this.#cgroupPrefix}-${randomBytes(4).toString('hex')}`;
    mkdirSync(directory);
    return { path: `/${basename(directory)}`, procs: join(directory, 'cgroup.procs') };
  }

  async close(): Promise<void> {
    for (const child of this.children) await child.kill();
    for (const fd of [this.fuseFd, ...this.stateFds]) closeSync(fd);
    this.#cleaner.stdin!.end();
    await once(this.#cleaner, 'exit');
  }
}

/** Starts a program inside a cgroup. */
export function spawnIn(cgroup: TestCgroup, argv: readonly string[]): ChildProcess {
  return spawn('sh', ['-c', 'echo $$ > "$0" && exec "$@"', cgroup.procs, ...argv], { stdio: ['pipe', 'pipe', 'pipe'] });
}

/** Runs a program to its end; `stderr` is appended to a failing status. */
export async function runIn(cgroup: TestCgroup | undefined, argv: readonly string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = cgroup === undefined ? spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] }) : spawnIn(cgroup, argv);
  let stdout = '', stderr = '';
  child.stdout!.on('data', (data: Buffer) => { stdout += data.toString(); });
  child.stderr!.on('data', (data: Buffer) => { stderr += data.toString(); });
  const [status] = await once(child, 'close') as [number | null];
  return { status, stdout, stderr };
}

/** Writes a script that Node can run without a loader; returns its path. */
export function writeScript(mount: TestMount, name: string, source: string): string {
  const path = join(mount.directory, name);
  writeFileSync(path, source);
  return path;
}

export const containerId = (n: number): string => n.toString(16).padStart(64, '0');

export function secret(name: string, content: string | Buffer, more: { version?: number; kind?: 'versioned' | 'bound' | 'placeholder'; uid?: number; gid?: number; mode?: number } = {}): {
  name: string; kind: 'versioned' | 'bound' | 'placeholder'; content: string; version: number; uid: number; gid: number; mode: number;
} {
  return { name, kind: 'versioned', content: Buffer.from(content).toString('base64'), version: 1, uid: 0, gid: 0, mode: 0o400, ...more };
}

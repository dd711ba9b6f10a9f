// A laboratory for real containers without Docker: a root filesystem of a few programs, bundles, the real runc, a built shim and a
// hand-written agent. Each script runs in its own mount and process namespaces, so whatever it starts ends with it.

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buildShim } from './shim.ts';

export const ID = '0123456789ab'.padEnd(64, 'c');

/** Why these tests cannot run here, or false. Root may lack the right to mount, so that is tried and not guessed. */
export const skip = process.getuid?.() !== 0 || spawnSync('unshare', ['-m', '-p', '-f', '--mount-proc', 'true']).status !== 0
  ? 'needs root and the right to mount'
  : spawnSync('runc', ['--version']).status !== 0 ? 'needs runc'
    : spawnSync('busybox', ['true']).status !== 0 ? 'needs busybox-static' : false;

/** Variables as the agent sends them (PROTOCOL.md section 2); null removes one. */
export function payload(variables: Readonly<Record<string, string | null>>): Buffer {
  return Buffer.concat(Object.entries(variables).flatMap(([name, value]) => {
    const head = Buffer.alloc(8);
    head.writeUInt32LE(Buffer.byteLength(name), 0);
    head.writeUInt32LE(value === null ? 0xffff_ffff : Buffer.byteLength(value), 4);
    return [head, Buffer.from(name), Buffer.from(value ?? '')];
  }));
}

export function environment(variables: Readonly<Record<string, string | null>>): Buffer {
  const bytes = payload(variables);
  return Buffer.concat([Buffer.from(`environment ${bytes.length}\n`), bytes]);
}

export interface Config {
  readonly env: readonly string[];
  readonly args: readonly string[];
  readonly process?: object;
  readonly linux?: object;
  readonly root?: object;
  readonly hooks?: object;
}

export interface ScriptResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const namespaces = ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type }));
const mounts = [
  { destination: '/proc', type: 'proc', source: 'proc' },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
  { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['newinstance', 'ptmxmode=0666', 'mode=0620'] },
];

/** One directory with a shim, a root filesystem, a bundle and the agent's socket; close() removes all of it. */
export class BundleLab {
  readonly dir = mkdtempSync(join(tmpdir(), 'purser-bundle-'));
  readonly bundle = join(this.dir, 'b');
  readonly log = join(this.dir, 'log.json');
  readonly rootfs = join(this.bundle, 'rootfs');
  readonly marker = join(this.dir, 'run', 'environment', ID);
  readonly asked: string[] = [];
  #agent: Server | undefined;

  constructor(mode: 'release' | 'sanitize') {
    for (const name of ['bin', 'proc', 'dev', 'tmp']) mkdirSync(join(this.rootfs, name), { recursive: true });
    chmodSync(this.dir, 0o755);
    const busybox = execFileSync('sh', ['-c', 'readlink -f "$(command -v busybox)"'], { encoding: 'utf8' }).trim();
    copyFileSync(busybox, join(this.rootfs, 'bin', 'busybox'));
    for (const applet of ['sh', 'cat', 'env', 'sleep', 'tr', 'id', 'true', 'tty', 'md5sum']) symlinkSync('busybox', join(this.rootfs, 'bin', applet));
    mkdirSync(dirname(this.marker), { recursive: true, mode: 0o700 });
    buildShim(join(this.dir, 'shim'), mode, join(this.dir, 'run'));
  }

  /** Compiles a program of one file into the container, with `flags`; copies the libraries it names. */
  compile(name: string, source: string, compiler: string, flags: readonly string[]): void {
    const out = join(this.rootfs, 'bin', name);
    writeFileSync(join(this.dir, 'program.c'), source);
    execFileSync(compiler, ['-o', out, join(this.dir, 'program.c'), ...flags]);
    // glibc's ldd does not know the interpreter of a musl program.
    const named = ['ldd', 'strings'].map((tool) => spawnSync(tool, [out], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } }).stdout).join('\n');
    const libraries = named.match(/\/lib\S*\/\S+\.so\S*|\/lib\S*ld-musl\S+/g) ?? [];
    for (const library of libraries.filter((path) => existsSync(path))) {
      mkdirSync(join(this.rootfs, dirname(library)), { recursive: true });
      copyFileSync(library, join(this.rootfs, library));
    }
  }

  /** Writes the bundle and, as the agent does at `create`, the mark that the container has values. */
  prepare(config: Config): void {
    const { env, args, process: extra = {}, linux = {}, root = {}, hooks } = config;
    writeFileSync(join(this.bundle, 'config.json'), JSON.stringify({
      ociVersion: '1.0.2', process: { env, args, cwd: '/', user: { uid: 0, gid: 0 }, ...extra }, root: { path: 'rootfs', ...root }, mounts, hooks,
      linux: { namespaces, cgroupsPath: `/purser-test-${process.pid}`, ...linux },
    }));
    rmSync(this.marker, { force: true });
    writeFileSync(this.marker, `${this.bundle}\n`, { mode: 0o600 });
    rmSync(this.log, { force: true });
  }

  /** Writes the file that `docker exec` gives to runc. */
  process(config: Config): string {
    const path = join(this.dir, 'process.json');
    writeFileSync(path, JSON.stringify({ env: config.env, args: config.args, cwd: '/', user: { uid: 0, gid: 0 }, ...config.process }), { mode: 0o600 });
    return path;
  }

  /** An agent that answers `ok` to create and `answers[verb]` to the others; a verb without an answer is hung up on. */
  async startAgent(answers: Readonly<Record<string, Buffer | string>>): Promise<void> {
    await this.stopAgent();
    this.asked.length = 0;
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (data) => {
        const { verb } = JSON.parse(data.toString()) as { verb: string };
        this.asked.push(verb);
        const answer = verb === 'create' || verb === 'deleted' ? 'ok\n' : answers[verb];
        if (answer === undefined) socket.destroy();
        else socket.end(answer);
      });
    });
    this.#agent = server;
    await new Promise<void>((resolve) => server.listen(join(this.dir, 'run', 'agent.sock'), resolve));
  }

  async stopAgent(): Promise<void> {
    const server = this.#agent;
    this.#agent = undefined;
    if (server !== undefined) await new Promise((resolve) => server.close(resolve));
  }

  /**
   * Runs a script after `create`, in which `X verb …` is the shim with containerd's options, `R` plain runc, `out` waits for a line in the
   * container's output or another file, and $PID is its init. The container is deleted at the end. `first` runs before `create`.
   */
  async script(script: string, first = ''): Promise<ScriptResult> {
    const prelude = `cd ${this.bundle}; B=${this.bundle}; D=${this.dir}; ID=${ID}; G="--root ${this.dir}/root --log ${this.log} --log-format json"
      X() { ${this.dir}/shim $G "$@"; }; R() { runc $G "$@"; }
      gone() { for i in $(seq 1000); do kill -0 $PID 2>/dev/null && ! grep -q '^State:.Z' /proc/$PID/status || return 0; sleep 0.02; done; echo "still there" >&2; return 1; }
      out() { for i in $(seq 1000); do grep -qa -- "$1" "\${2-$D/out}" && return; sleep 0.02; done; echo "no '$1' in the output:" >&2; cat "\${2-$D/out}" >&2; return 1; }
      shown() { tr '\\0' '\\n' < /proc/$1/environ; }
      trap 'runc --root ${this.dir}/root delete --force ${ID}' EXIT
      ${first}
      X create --bundle $B --pid-file $B/init.pid $ID < /dev/null > $D/out 2>&1 || { cat $D/out >&2; exit 99; }
      PID=$(cat $B/init.pid)\n`;
    const child = spawn('unshare', ['-m', '-p', '-f', '--kill-child', '--mount-proc', 'bash', '-c', prelude + script], {
      env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' }, stdio: ['ignore', 'pipe', 'pipe'], timeout: 300_000,
    });
    let stdout = '', stderr = '';
    child.stdout.on('data', (data: Buffer) => { stdout += data.toString(); });
    child.stderr.on('data', (data: Buffer) => { stderr += data.toString(); });
    const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
    return { status, stdout, stderr };
  }

  async close(): Promise<void> {
    await this.stopAgent();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

// The Docker daemon of this machine as an operator's tool sees it: its process, a reload by SIGHUP, and a few questions over its socket.
// For `purser runtime` only; nothing here may be used while a container is being created (inspect waits for the runtime).

import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { PurserError, messageOf } from '../lib/errors.ts';

const REQUEST_MS = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const POLL_MS = 50;

const infoSchema = z.object({ DefaultRuntime: z.string(), Runtimes: z.record(z.string(), z.object({ path: z.string().optional() })).nullish() });
const listSchema = z.array(z.object({ Id: z.string().regex(/^[0-9a-f]{64}$/), Names: z.array(z.string()).nullish() }));
const inspectSchema = z.object({ HostConfig: z.object({ Runtime: z.string().optional() }) });

export interface DaemonRuntimes {
  readonly defaultRuntime: string;
  /** Configured runtimes by name, with their paths as far as dockerd tells them. */
  readonly paths: ReadonlyMap<string, string | undefined>;
}

export class DockerDaemon {
  readonly #socketPath: string;
  readonly #pidFiles: readonly string[];

  constructor(options: { readonly socketPath: string; readonly pidFiles?: readonly string[] | undefined }) {
    this.#socketPath = options.socketPath;
    this.#pidFiles = options.pidFiles ?? ['/run/docker.pid', '/var/run/docker.pid'];
  }

  /** The process id of the running dockerd; undefined when none runs. */
  async pid(): Promise<number | undefined> {
    for (const file of this.#pidFiles) {
      const text = await readFile(file, 'latin1').catch(() => '');
      const pid = /^\s*([1-9][0-9]{0,8})\s*$/.exec(text)?.[1];
      // A pid file outlives its process; the number may be anybody's by now.
      if (pid !== undefined && (await readFile(`/proc/${pid}/comm`, 'latin1').catch(() => '')).trim() === 'dockerd') return Number(pid);
    }
    return undefined;
  }

  /** The command line of a running dockerd. */
  async argv(pid: number): Promise<readonly string[]> {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0').slice(0, -1);
  }

  /** @throws ERR_DOCKER_UNAVAILABLE when the daemon does not answer */
  async runtimes(): Promise<DaemonRuntimes> {
    const { DefaultRuntime, Runtimes } = await this.#get('/info', infoSchema);
    return { defaultRuntime: DefaultRuntime, paths: new Map(Object.entries(Runtimes ?? {}).map(([name, { path }]) => [name, path])) };
  }

  /**
   * Lets dockerd read its configuration again and waits until `isApplied`.
   * @returns false when that did not happen in time
   * @throws ERR_DOCKER_UNAVAILABLE when the daemon is gone
   */
  async reload(pid: number, isApplied: (runtimes: DaemonRuntimes) => boolean, timeoutMs: number): Promise<boolean> {
    try {
      process.kill(pid, 'SIGHUP');
    } catch (error) {
      throw unavailable(`dockerd (process ${pid}) cannot be told to reload: ${messageOf(error)}`, error);
    }
    for (const end = Date.now() + timeoutMs; Date.now() < end; await sleep(POLL_MS)) {
      if (isApplied(await this.runtimes())) return true;
    }
    return false;
  }

  /** Names of all containers, stopped ones too, that were created with this runtime and cannot start or stop without it. */
  async containersWith(runtime: string): Promise<readonly string[]> {
    const names = [];
    for (const { Id, Names } of await this.#get('/containers/json?all=1', listSchema)) {
      // undefined: removed since the list was made.
      const container = await this.#get(`/containers/${Id}/json`, inspectSchema, true);
      if (container?.HostConfig.Runtime === runtime) names.push(Names?.[0]?.replace(/^\//, '') ?? Id.slice(0, 12));
    }
    return names;
  }

  async #get<T>(path: string, schema: z.ZodType<T>): Promise<T>;
  async #get<T>(path: string, schema: z.ZodType<T>, mayBeAbsent: true): Promise<T | undefined>;
  async #get<T>(path: string, schema: z.ZodType<T>, mayBeAbsent = false): Promise<T | undefined> {
    const { status, body } = await this.#request(path).catch((error: unknown) => {
      throw unavailable(`the Docker daemon does not answer on ${this.#socketPath}: ${messageOf(error)}`, error);
    });
    if (status === 404 && mayBeAbsent) return undefined;
    try {
      if (status !== 200) throw new Error(`status ${status}`);
      return schema.parse(JSON.parse(body));
    } catch (error) {
      throw unavailable(`the Docker daemon gave no usable answer to ${path.split('?')[0]?.replace(/[0-9a-f]{64}/, 'ID')}`, error);
    }
  }

  #request(path: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.#socketPath, path, signal: AbortSignal.timeout(REQUEST_MS) }, (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('error', reject);
        response.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > MAX_ANSWER_BYTES) call.destroy(new Error('the answer is too large'));
          else chunks.push(chunk);
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }));
      });
      call.on('error', reject);
      call.end();
    });
  }
}

function unavailable(message: string, cause: unknown): PurserError {
  return new PurserError('ERR_DOCKER_UNAVAILABLE', message, { hint: 'check that Docker runs: systemctl status docker', cause });
}

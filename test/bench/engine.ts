// The Docker Engine's API without the command line in between, so that a measurement holds only the engine's own time.

import { request } from 'node:http';

const SOCKET = '/run/docker.sock';

/** One call of the Engine's API; gives the parsed body. @throws Error for any status from 400 on */
export function engine(method: string, path: string, body?: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: SOCKET, method, path, headers: body === undefined ? {} : { 'content-type': 'application/json' } }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if ((response.statusCode ?? 0) >= 400) reject(new Error(`${method} ${path}: ${text}`));
        else resolve(text === '' ? undefined : JSON.parse(text));
      });
    });
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

export interface ContainerOptions {
  readonly runtime?: 'runc' | 'purser';
  readonly labels?: Readonly<Record<string, string>>;
  readonly command: readonly string[];
  readonly binds?: readonly string[];
  readonly env?: readonly string[];
}

/** Creates a container from busybox and gives its id. */
export async function createContainer(options: ContainerOptions): Promise<string> {
  const { Id } = await engine('POST', '/containers/create', {
    Image: 'busybox:latest', Cmd: options.command, Env: options.env ?? [], Labels: options.labels ?? {},
    HostConfig: { NetworkMode: 'none', Binds: options.binds ?? [], ...(options.runtime === undefined ? {} : { Runtime: options.runtime }) },
  }) as { Id: string };
  return Id;
}

export const startContainer = (id: string): Promise<unknown> => engine('POST', `/containers/${id}/start`);
export const removeContainer = (id: string): Promise<unknown> => engine('DELETE', `/containers/${id}?force=1&v=1`);

/** Runs a command in a container to its end. */
export async function execIn(id: string, command: readonly string[]): Promise<void> {
  const { Id } = await engine('POST', `/containers/${id}/exec`, { Cmd: command }) as { Id: string };
  await engine('POST', `/exec/${Id}/start`, { Detach: false });
}

/** Runs `work` over the items, at most `width` at a time. */
export async function inParallel<T>(items: readonly T[], width: number, work: (item: T) => Promise<unknown>): Promise<void> {
  const queue = [...items];
  await Promise.all(Array.from({ length: width }, async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  }));
}

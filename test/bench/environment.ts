// What references in variables add to `docker start` and to `docker exec`: plain runc with 20 plain variables, the shim without a
// reference, and the shim with 20.

import type { CoreClient } from '../../src/client/core-client.ts';
import { createContainer, execIn, removeContainer, startContainer, type ContainerOptions } from './engine.ts';
import { compare, timeStart } from './interleaved.ts';

const ROUNDS = 30;
const NAMES = Array.from({ length: 20 }, (_, index) => `f${String(index)}`);
const PLAIN = NAMES.map((name) => `${name.toUpperCase()}=${name.repeat(20)}`);

const KINDS: readonly (readonly [string, ContainerOptions])[] = [
  ['plain runc, 20 plain variables', { runtime: 'runc', command: ['true'], env: PLAIN }],
  ['purser-runtime, 20 plain variables', { runtime: 'purser', command: ['true'], env: PLAIN }],
  ['purser-runtime, 20 references', { runtime: 'purser', command: ['true'], env: NAMES.map((name) => `${name.toUpperCase()}=purser://secret/db/twenty#${name}`) }],
];

/** Prints the tables. */
export async function benchEnvironment(client: CoreClient): Promise<void> {
  await client.write('secret/data/db/twenty', { data: Object.fromEntries(NAMES.map((name) => [name, name.repeat(20)])) });
  await compare('Start with variables, POST /containers/ID/start', KINDS.map(([name, options]) => [name, () => timeStart(options)]), ROUNDS);
  const running = await Promise.all(KINDS.map(([, options]) => createContainer({ ...options, command: ['sleep', '600'] })));
  for (const id of running) await startContainer(id);
  await compare('Exec with variables, exec create, start and the end of `true`', running.map((id, index) => [KINDS[index]?.[0] ?? '', async () => {
    const begin = performance.now();
    await execIn(id, ['true']);
    return performance.now() - begin;
  }]), ROUNDS);
  for (const id of running) await removeContainer(id);
}

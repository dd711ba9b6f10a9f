// What Purser adds to `docker start`: plain runc, the shim without references, and the shim with five.

import { compare, timeStart } from './interleaved.ts';

const ROUNDS = 30;

const REFERENCES = Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((field) => [`purser.file.${field}`, `purser://secret/db/five#${field}`]));

/** Prints the table. Needs the secret `secret/db/five` with the fields a to e. */
export async function benchContainerStart(): Promise<void> {
  await compare('Container start, POST /containers/ID/start', [
    ['plain runc', () => timeStart({ runtime: 'runc', command: ['true'] })],
    ['purser-runtime, no reference', () => timeStart({ runtime: 'purser', command: ['true'] })],
    ['purser-runtime, 5 references', () => timeStart({ runtime: 'purser', command: ['true'], labels: REFERENCES })],
  ], ROUNDS);
}

// What the rotation tests write and how they read it back.

import { spawn } from 'node:child_process';

import { docker, eventually } from './command.ts';

/** Values of different lengths, so that a cut or a mixture shows; each is one letter, repeated. */
export const VALUES: readonly string[] = ['a'.repeat(40), 'b'.repeat(7), 'c'.repeat(300), 'd'.repeat(1), 'e'.repeat(64), 'f'.repeat(5000)];

export interface ReadLoop {
  /** Waits until a read gave this value. */
  sees(value: string): Promise<unknown>;
  /** The values that it saw, in order, runs of the same one folded. */
  stop(): Promise<string[]>;
}

/** Reads a file in a container over and over; resolves once it does. */
export async function readLoop(container: string, path: string): Promise<ReadLoop> {
  const child = spawn('docker', ['exec', '--user', '0', container, 'sh', '-c', `rm -f /tmp/stop; while [ ! -e /tmp/stop ]; do cat ${path} || echo FAILED; echo; done`]);
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => { text += chunk.toString(); });
  const lines = (): string[] => text.split('\n').slice(0, -1);
  await eventually('the first read', () => lines().length > 0);
  return {
    sees: (value) => eventually(`that the loop reads ${value.slice(0, 20)}`, () => lines().includes(value)),
    async stop() {
      const ended = new Promise((done) => child.once('close', done));
      await docker('exec', '--user', '0', container, 'touch', '/tmp/stop');
      await ended;
      return lines().filter((line, index, all) => line !== all[index - 1]);
    },
  };
}

// What the rotation tests write and how they read it back.

import { spawn } from 'node:child_process';

import { docker } from './command.ts';

/** Values of different lengths, so that a cut or a mixture shows; each is one letter, repeated. */
export const VALUES: readonly string[] = ['a'.repeat(40), 'b'.repeat(7), 'c'.repeat(300), 'd'.repeat(1), 'e'.repeat(64), 'f'.repeat(5000)];

/** Reads a file in a container over and over; stop() gives the values it saw, in order, runs of the same one folded. */
export function readLoop(container: string, path: string): { stop(): Promise<string[]> } {
  const child = spawn('docker', ['exec', '--user', '0', container, 'sh', '-c', `rm -f /tmp/stop; while [ ! -e /tmp/stop ]; do cat ${path} || echo FAILED; echo; done`]);
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => { text += chunk.toString(); });
  return {
    async stop() {
      const ended = new Promise((done) => child.once('close', done));
      await docker('exec', '--user', '0', container, 'touch', '/tmp/stop');
      await ended;
      return text.split('\n').slice(0, -1).filter((line, index, all) => line !== all[index - 1]);
    },
  };
}

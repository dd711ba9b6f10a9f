// The one entry of `purser`. It decides which program this process is and loads only that one: the server's code (keys,
// storage, engines) is never loaded by an agent, a driver or a command, and theirs never by the server.

import { isMainThread, workerData } from 'node:worker_threads';

import type { KeeperCommandOptions } from './agent/keeper/main.ts';
import type { Programs } from './cli/context.ts';

const programs: Programs = {
  server: async (options) => (await import('./server/main.ts')).runServer(options),
  agent: async (options) => (await import('./agent/main.ts')).runAgent(options),
  keeper: async (options) => (await import('./agent/keeper/main.ts')).runKeeper(options as KeeperCommandOptions),
  driver: async (options) => (await import('./driver/main.ts')).runDriver(options),
  joinNode: async (options) => (await import('./client/node/join.ts')).joinNode(options),
  runtime: async () => await import('./agent/runtime-config.ts'),
  swarm: async (socket) => new (await import('./driver/swarm-engine.ts')).SwarmEngine(socket),
};

async function main(): Promise<void> {
  if (!isMainThread) {
    if ((workerData as { role?: unknown } | null)?.role !== 'fuse-server') throw new Error('unknown worker role');
    (await import('./agent/fuse/worker.ts')).runFuseWorker();
    return;
  }
  process.exitCode = await (await import('./cli/program.ts')).runCli(process.argv.slice(2), programs);
}

void main();

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { DockerEngine } from '../../src/agent/docker.ts';
import { recordedLog } from '../fakes/silent-log.ts';

test('follow() gives up a stream of events that Docker does not open in time, connection included', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'purser-docker-'));
  const path = join(directory, 'docker.sock');
  const server = createServer().listen(path);
  await once(server, 'listening');
  const engine = new DockerEngine(path, recordedLog().log);
  const connected = once(server, 'connection') as Promise<[Socket]>;
  engine.follow({ onConnected: () => undefined, onEvent: () => undefined, onVolumeMount: () => undefined });
  const [socket] = await connected;
  socket.resume();
  await once(socket, 'close', { signal: AbortSignal.timeout(8000) });
  server.close();
  await engine.stop();
  rmSync(directory, { recursive: true });
});

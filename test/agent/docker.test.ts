import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
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
  await once(socket, 'close', { signal: AbortSignal.timeout(60_000) });
  server.close();
  await engine.stop();
  rmSync(directory, { recursive: true });
});

test('imageLabels() asks once for an image, and remembers nothing that is large', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'purser-docker-'));
  const path = join(directory, 'docker.sock');
  const asked: string[] = [];
  const images: Readonly<Record<string, Record<string, string> | null>> = { 'sha256:1': { team: 'shop' }, 'sha256:2': null, 'sha256:3': { a: 'x'.repeat(100_000) } };
  const server = createHttpServer((request, response) => {
    const id = decodeURIComponent(/\/images\/([^/]+)\/json$/.exec(request.url ?? '')?.[1] ?? '');
    asked.push(id);
    response.writeHead(Object.hasOwn(images, id) ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(Object.hasOwn(images, id) ? { Id: id, Config: { Labels: images[id] } } : { message: 'no such image' }));
  }).listen(path);
  await once(server, 'listening');
  const engine = new DockerEngine(path, recordedLog().log);
  for (let turn = 0; turn < 2; turn++) {
    assert.deepEqual(await engine.imageLabels('sha256:1'), { team: 'shop' });
    assert.deepEqual(await engine.imageLabels('sha256:2'), {});
    assert.equal((await engine.imageLabels('sha256:3'))['a']?.length, 100_000);
    await assert.rejects(engine.imageLabels('sha256:4'), { code: 'ERR_DOCKER_UNAVAILABLE' });
  }
  assert.deepEqual(asked, ['sha256:1', 'sha256:2', 'sha256:3', 'sha256:4', 'sha256:3', 'sha256:4']);
  server.closeAllConnections();
  server.close();
  rmSync(directory, { recursive: true });
});

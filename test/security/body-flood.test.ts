// Class 7, memory before authentication: strangers who send large bodies on many connections and never finish them get a
// bounded part of the core's memory, and a login beside them still works.

import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { eventually } from '../eventually.ts';
import { startUnsealed, type TestServer } from '../server/running.ts';

const MIB = 1024 * 1024;
const CONNECTIONS = 160;
let server: TestServer;
const sockets: Socket[] = [];
before(async () => { server = await startUnsealed({ audit: false }); });
after(async () => {
  for (const socket of sockets) socket.destroy();
  await server.stop();
});

test('unfinished bodies of strangers are refused with 429 before they fill the memory', async () => {
  const statuses: string[] = [];
  const { hostname, port } = new URL(server.server.address);
  for (let index = 0; index < CONNECTIONS; index++) {
    const socket = connect(Number(port), hostname);
    sockets.push(socket);
    socket.on('error', () => undefined).on('data', (chunk) => { statuses.push(chunk.toString('latin1').slice(9, 12)); });
    socket.write(`POST /v1/secret/data/a HTTP/1.1\r\nHost: x\r\nContent-Length: ${MIB}\r\n\r\n`);
    socket.write(Buffer.alloc(MIB - 1, 0x20));
  }
  // 32 MiB for large bodies: at least so many of the rest must have been turned away.
  await eventually(`${String(CONNECTIONS - 32)} answers`, () => statuses.length >= CONNECTIONS - 32, 60_000);
  assert.deepEqual([...new Set(statuses)], ['429']);
  const login = await server.call('POST', 'auth/node/login', { token: undefined, body: { jwt: 'x'.repeat(4_000) } });
  assert.equal(login.status, 400, 'a login is heard and judged');
  assert.equal((await server.call('POST', 'secret/data/a', { body: { data: { a: 'x'.repeat(2 * MIB) } } })).status, 200, 'a token has its own memory');
});

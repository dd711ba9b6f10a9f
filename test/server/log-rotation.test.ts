// Log rotation as an operator does it, on a real server process: rename the audit file, send SIGHUP, go on; what was written before and
// after is one chain, and no request in between is lost. Runs what `npm run build` left.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment -- bodies of any shape */

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually } from '../eventually.ts';
import { call, temporaryDirectory } from './running.ts';

const { path: directory, remove } = temporaryDirectory();
const audit = join(directory, 'data', 'audit', 'audit.log');
let process_: ChildProcess;
let address: string;
let root: string;
const messages: string[] = [];

before(async () => {
  process_ = spawn(process.execPath, [fileURLToPath(new URL('../../dist/purser', import.meta.url)), 'server', '--http', '--listen', '127.0.0.1:0', '--data-dir', join(directory, 'data'), '--auto-unseal-key-file', join(directory, 'key'), '--init-if-needed'], { stdio: ['ignore', 'ignore', 'pipe'] });
  address = await new Promise<string>((resolve, reject) => {
    createInterface({ input: process_.stderr! }).on('line', (line) => {
      if (!line.startsWith('{')) { messages.push(line); return; }
      const entry = JSON.parse(line) as { msg: string; address?: string };
      messages.push(entry.msg);
      if (entry.msg === 'listening') resolve(entry.address!);
    });
    process_.once('exit', (code) => reject(new Error(`the server ended with ${String(code)}: ${messages.join(', ')}`)));
  });
  root = readFileSync(join(directory, 'data', 'root-token'), 'utf8').trim();
});
after(async () => {
  process_.kill('SIGTERM');
  if (process_.exitCode === null) await once(process_, 'exit');
  remove();
});

const ids = (file: string): string[] => readFileSync(file, 'utf8').trimEnd().split('\n').flatMap((line) => (JSON.parse(line) as { request?: { id: string } }).request?.id ?? []);

test('SIGHUP goes on in a new file while requests run; the old one keeps what it has, and both are one chain', async () => {
  let isOver = false;
  const answered: string[] = [];
  const load = Promise.all(Array.from({ length: 8 }, async () => {
    while (!isOver) answered.push((await call(address, 'POST', 'sys/tools/hash', { token: root, body: { input: '' } })).body.request_id as string);
  }));
  for (let rotation = 1; rotation <= 3; rotation++) {
    const before = messages.length;
    await eventually('answers', () => answered.length >= rotation * 20);
    renameSync(audit, `${audit}.${String(rotation)}`);
    process_.kill('SIGHUP');
    await eventually('the server says so', () => messages.slice(before).includes('reopened the audit files'));
    const size = statSync(`${audit}.${String(rotation)}`).size;
    const count = answered.length;
    await eventually('answers go on', () => answered.length > count + 8);
    assert.equal(statSync(`${audit}.${String(rotation)}`).size, size, 'the old file is left alone');
    assert.equal(statSync(audit).mode & 0o777, 0o600);
  }
  isOver = true;
  await load;
  const recorded = new Map<string, number>();
  for (const file of [`${audit}.1`, `${audit}.2`, `${audit}.3`, audit]) for (const id of ids(file)) recorded.set(id, (recorded.get(id) ?? 0) + 1);
  for (const id of answered) assert.equal(recorded.get(id), 2, 'a request and a response entry for every answer');
  const { body } = await call(address, 'GET', 'sys/audit/verify/file', { token: root });
  assert.deepEqual([body.data.isSound, (body.data.files as unknown[]).length, body.data.gaps], [true, 4, []]);
});

test('SIGHUP without a rename keeps the file, and SIGUSR1 opens no debugger', async () => {
  const before = messages.length;
  process_.kill('SIGHUP');
  process_.kill('SIGUSR1');
  await eventually('the server says so', () => messages.slice(before).includes('reopened the audit files'));
  assert.equal((await call(address, 'GET', 'sys/health')).status, 200);
  assert.ok(existsSync(audit) && !existsSync(`${audit}.4`));
  const { body } = await call(address, 'GET', 'sys/audit/verify/file', { token: root });
  assert.equal(body.data.isSound, true);
});

// A canary value goes through everything Purser does, and is then searched wherever it must not be: Docker's answers and files,
// both data directories, every log and audit file, process listings, environments of every process, core dumps.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, must } from './command.ts';
import { BASE, Installation, PURSER, RUNTIME } from './installation.ts';

// Made anew each time, so that this file itself never holds it.
const CANARY = `canary-${randomBytes(8).toString('hex')}`;
// As it would look in base64 at each of the three alignments, and in hex.
const FORMS = [CANARY, ...[0, 1, 2].map((shift) => Buffer.from(' '.repeat(shift) + CANARY).toString('base64').slice(4, 28)), Buffer.from(CANARY).toString('hex')];

function* files(folder: string, skip: (path: string) => boolean): Generator<string> {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (skip(path)) continue;
    let stat;
    try { stat = lstatSync(path); } catch { continue; }
    if (stat.isDirectory()) yield* files(path, skip);
    else if (stat.isFile()) yield path;
  }
}

function assertClean(what: string, content: Buffer | string): void {
  const bytes = Buffer.from(content);
  for (const form of FORMS) assert.equal(bytes.includes(form), false, `${what} holds the canary`);
}

function assertFilesClean(folder: string, skip: (path: string) => boolean = () => false): number {
  let count = 0;
  for (const path of files(folder, skip)) {
    let content;
    try { content = readFileSync(path); } catch { continue; }
    assertClean(path, content);
    count++;
  }
  return count;
}

describe('a canary', () => {
  let purser: Installation;
  let container: string;
  before(async () => {
    await docker('swarm', 'init', '--advertise-addr', '10.213.0.1');
    purser = await Installation.start({ driver: true });
    await purser.put('secret/db/prod', { password: CANARY });
    container = await docker('run', '-d', '--name', 'canary', '-e', 'PW_FILE=purser://secret/db/prod#password', '-e', 'PW=purser://secret/db/prod#password', '-e', 'URL=db://${purser://secret/db/prod#password}@db',
      '-l', 'purser.env=strict', '-l', 'purser.file.pw=purser://secret/db/prod#password', 'busybox', 'sh', '-c', 'sleep 600; true');
    await docker('secret', 'create', '--driver', 'purser', '--label', 'purser.ref=purser://secret/db/prod#password', 'canary');
    await docker('service', 'create', '--quiet', '--detach', '--no-resolve-image', '--endpoint-mode', 'dnsrr', '--stop-grace-period', '1s', '--name', 'canary', '-e', 'PW=purser://secret/db/prod#password', '--secret', 'canary', 'busybox:latest', 'sleep', '600');
    const task = await eventually('the task', async () => await docker('ps', '--quiet', '--filter', 'label=com.docker.swarm.service.name=canary') || undefined, 60_000);
    assert.equal(await docker('exec', task, 'cat', '/run/secrets/canary'), CANARY);
    assert.equal(await docker('exec', container, 'sh', '-c', 'cat $PW_FILE'), CANARY);
    for (const id of [container, task]) assert.equal(await docker('exec', id, 'sh', '-c', 'echo $PW'), CANARY);
    // It is searched while this one runs: its process file, and its own block in the kernel.
    await docker('exec', '-d', container, 'sh', '-c', 'sleep 500; true');
    // Errors and refusals around it, and a restart of every part.
    await docker('exec', container, 'cat', '/run/secrets/pw');
    await purser.tryPurser('kv', 'put', 'secret/db/prod', `password=${CANARY}-2`, '--cas', '99');
    await purser.tryPurser('kv', 'get', 'secret/db/prod', '--field', 'nofield');
    await purser.tryPurser('kv', 'put', 'unknown/mount', `password=${CANARY}`);
    await docker('run', '--name', 'canary-refused', '-l', 'purser.file.pw=purser://secret/db/prod?encoding=hex#password', 'busybox').catch(() => undefined);
    await purser.end('agent', 'SIGKILL');
    await purser.startAgent();
    assert.equal(await docker('exec', container, 'cat', '/run/secrets/pw'), CANARY);
  });
  after(async () => {
    await docker('service', 'rm', 'canary');
    await purser.stop();
    await docker('swarm', 'leave', '--force');
  });

  test('is in no answer of Docker', async () => {
    for (const args of [['inspect', container], ['inspect', 'canary-refused'], ['service', 'inspect', 'canary'], ['secret', 'inspect', 'canary'], ['history', '--no-trunc', 'busybox'], ['events', '--since', '1h', '--until', '0s'], ['logs', container], ['info']]) {
      assertClean(`docker ${args.join(' ')}`, await docker(...args));
    }
  });

  test('is in no file of Docker outside the FUSE mount', () => {
    assert.ok(assertFilesClean('/var/lib/docker', (path) => path.includes('/mounts/secrets')) > 50, 'Docker\'s files were searched');
    assert.ok(assertFilesClean('/run', (path) => path === '/run/purser/fs' || path === '/run/purser/ro' || path.includes('/mounts/secrets')) > 10, '/run was searched');
    assertFilesClean('/var/lib/containerd');
    assertFilesClean('/etc/docker');
  });

  test('is in no file of core and agent, logs and audit included', () => {
    assert.ok(assertFilesClean(BASE) > 10, 'the data directories were searched');
    const audit = readFileSync(join(purser.dataDirectory, 'audit', 'audit.log'), 'utf8');
    assert.match(audit, /hmac-sha256:/);
    assert.match(audit, /node\/resolve/);
  });

  test('is in no command line, environment or temporary file', async () => {
    assertClean('ps', await must('ps', ['axww', '-o', 'args']));
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      for (const file of ['environ', 'cmdline', 'comm']) {
        let content: Buffer;
        try { content = readFileSync(`/proc/${pid}/${file}`); } catch { continue; }
        assertClean(`/proc/${pid}/${file}`, content);
      }
    }
    assertFilesClean('/tmp', (path) => path.includes('node_modules') || path.endsWith('/.git'));
  });

  test('is in no core dump of the agent or its holder, where another program leaves one', async () => {
    const folder = '/run/tmp/dumps';
    mkdirSync(folder, { recursive: true });
    await purser.end('agent', 'SIGKILL');
    // bash says of each program that a signal ended whether the kernel dumped it.
    const agent = spawn('bash', ['-c', `cd ${folder}; ulimit -c unlimited; (bash -c 'kill -ABRT $$'; true) 2>> told; mv core* control; ("$@" > log 2>&1; true) 2>> told`, 'bash',
      RUNTIME, 'purser-agent', '--', process.execPath, PURSER, 'agent', '--state-dir', purser.stateDirectory], { stdio: 'ignore' });
    await eventually('the agent', () => purser.answers('/run/purser/agent.sock'));
    assert.equal(await docker('exec', container, 'sh', '-c', 'echo $PW; cat $PW_FILE'), `${CANARY}\n${CANARY}`);
    const ended = once(agent, 'exit');
    await must('pkill', ['-ABRT', '-f', `^${process.execPath} ${PURSER} agent`]);
    await ended;
    const told = readFileSync(join(folder, 'told'), 'utf8');
    assert.deepEqual([told.match(/Aborted/g)?.length, told.match(/core dumped/g)?.length], [2, 1], told);
    assert.deepEqual(readdirSync(folder).sort(), ['control', 'log', 'told']);
    const holder = await must('pgrep', ['-x', 'purser-holder']);
    assert.match(readFileSync(`/proc/${holder}/limits`, 'utf8'), /Max core file size +0 +0 /);
    assertFilesClean(folder);
    await purser.startAgent();
    assert.equal(await docker('exec', container, 'sh', '-c', 'echo $PW'), CANARY);
  });
});

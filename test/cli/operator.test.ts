// purser init | unseal | rekey | generate-root | rotate against a running server: output, exit codes, hints.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { loadConfig } from '../../src/server/config.ts';
import { startServer, type RunningServer } from '../../src/server/server.ts';
import { silent, temporaryDirectory } from '../server/running.ts';
import { run, withEnvironment, type Ran } from './run.ts';

let server: RunningServer;
let restore: () => void;
const data = temporaryDirectory();
let shares: string[];

const linesOf = (text: string, label: string): string[] => [...text.matchAll(new RegExp(`^${label}(?: \\d+)?: (.*)$`, 'gm'))].map(([, value]) => value!);
const value = ({ out }: Ran, key: string): string | undefined => new RegExp(`^${key} +(.*)$`, 'm').exec(out)?.[1];

before(async () => {
  server = await startServer(loadConfig({ dataDir: data.path, listen: '127.0.0.1:0', http: true }), silent);
  restore = withEnvironment({ PURSER_ADDR: server.address, PURSER_TOKEN: '' });
  const init = await run('init', '--shares', '3', '--threshold', '2');
  assert.equal(init.status, 0, init.err);
  shares = linesOf(init.out, 'unseal share');
  assert.equal((await run('status')).status, 3);
  assert.equal((await run('unseal', shares[0]!)).status, 3);
  const unsealed = await run('unseal', shares[2]!);
  assert.equal(unsealed.status, 0, unsealed.err);
  assert.match(unsealed.err, /^purser: warning: the unseal share stood on the command line/);
  process.env['PURSER_TOKEN'] = linesOf(init.out, 'root token')[0]!;
});
after(async () => {
  restore();
  await server.close();
  data.remove();
});

describe('purser rekey', () => {
  test('takes present shares, prints new ones, and asks for them back before they count', async () => {
    assert.equal(value(await run('rekey', 'status'), 'started'), 'false');
    const started = await run('rekey', 'init', '--shares', '2', '--threshold', '2');
    assert.equal(started.status, 0, started.err);
    assert.match(started.err, /purser: hint: each holder of a share now runs purser rekey share\n$/);
    assert.deepEqual([value(started, 'new shares') ?? value(started, 'new_shares'), value(started, 'progress'), value(started, 'verification')], ['2 of 2', '0/2', 'true']);
    const twice = await run('rekey', 'init');
    assert.deepEqual([twice.status, /purser: hint: go on with it, or cancel it first/.test(twice.err)], [1, true]);
    assert.equal(value(await run('rekey', 'share', shares[0]!), 'progress'), '1/2');
    const done = await run('rekey', 'share', shares[1]!);
    const made = linesOf(done.out, 'unseal share');
    assert.equal(made.length, 2);
    assert.match(done.err, /these shares do not unseal yet/);
    assert.equal(value(await run('rekey', 'verify', made[1]!), 'progress'), '1/2');
    const verified = await run('rekey', 'verify', made[0]!);
    assert.match(verified.err, /from now on the new shares unseal/);
    shares = made;
    assert.equal((await run('seal')).status, 0);
    for (const share of shares) await run('unseal', share);
    assert.equal((await run('status')).status, 0);
  });

  test('cancel is repeatable', async () => {
    for (let i = 0; i < 2; i += 1) assert.equal((await run('rekey', 'cancel')).status, 0);
    assert.equal((await run('rekey', 'init', '--shares', 'many')).status, 2);
  });
});

describe('purser generate-root', () => {
  test('ends in a root token that only the holder of the one-time password can read', async () => {
    const nothing = await run('generate-root', 'share', shares[0]!);
    assert.deepEqual([nothing.status, /purser: hint: start one with purser generate-root init/.test(nothing.err)], [1, true]);
    const started = await run('generate-root', 'init');
    const [otp] = linesOf(started.out, 'one-time password');
    assert.equal(value(await run('generate-root', 'share', shares[0]!), 'progress'), '1/2');
    const [encoded] = linesOf((await run('generate-root', 'share', shares[1]!)).out, 'encoded token');
    const token = (await run('generate-root', 'decode', encoded!, otp!)).out.trim();
    assert.match(token, /^hvs\./);
    const saved = process.env['PURSER_TOKEN'];
    process.env['PURSER_TOKEN'] = token;
    assert.match((await run('token', 'lookup')).out, /\["root"\]/);
    process.env['PURSER_TOKEN'] = saved;
    assert.equal((await run('generate-root', 'decode', encoded!, 'short')).status, 1);
  });
});

describe('purser rotate', () => {
  test('adds a term, shows it, and configures the automatic rotation', async () => {
    assert.equal((await run('rotate')).status, 0);
    assert.equal(value(await run('rotate', 'status'), 'term'), '2');
    const set = await run('rotate', 'config', '--interval', '720h', '--format', 'json');
    assert.deepEqual(JSON.parse(set.out), { max_operations: 3_865_470_566, interval: '720h0m0s', enabled: true });
    assert.equal(value(await run('rotate', 'config', '--disable'), 'enabled'), 'false');
    assert.equal((await run('rotate', 'config', '--interval', '1h')).status, 1);
    assert.equal((await run('rotate', 'config', '--enable', '--disable')).status, 2);
  });
});

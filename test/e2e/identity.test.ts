// The identity of a container: a token in a file that anyone verifies with the core's published keys, refreshed in place before
// it ends, and refused at start when no workload role allows the audience.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';

import { createLocalJWKSet, decodeJwt, jwtVerify, type JSONWebKeySet, type JWTPayload } from 'jose';

import { docker, eventually, run } from './command.ts';
import { ADDRESS, Installation } from './installation.ts';

const AUDIENCE = 'https://api.internal';
const FILE = '/run/secrets/identity.jwt';
const TTL_SECONDS = 30;

describe('identity', () => {
  let purser: Installation;
  before(async () => {
    purser = await Installation.start();
    await purser.put('secret/db/prod', { password: 'value' });
    await purser.purser('workload', 'write', 'web', '--label', 'team=web', '--identity-audience', AUDIENCE, '--identity-audience', 'vault-*', '--identity-ttl', `${String(TTL_SECONDS)}s`);
  });
  after(() => purser.stop());

  /** Without a token, with nothing but the CA: as a relying party asks. */
  function published<T>(path: string): Promise<T> {
    return new Promise((resolve, reject) => {
      get(`${ADDRESS}/v1/identity/oidc/.well-known/${path}`, { ca: readFileSync(purser.caCertificate) }, (response) => {
        let text = '';
        response.on('data', (chunk) => { text += String(chunk); }).on('end', () => { resolve(JSON.parse(text) as T); });
      }).on('error', reject);
    });
  }

  async function verified(token: string, audience = AUDIENCE): Promise<JWTPayload> {
    const { issuer } = await published<{ issuer: string }>('openid-configuration');
    const keys = createLocalJWKSet(await published<JSONWebKeySet>('keys'));
    return (await jwtVerify(token, keys, { issuer, audience, algorithms: ['EdDSA'] })).payload;
  }

  test('the file says who the container is, and the core\'s published keys verify it', async () => {
    const id = await docker('run', '-d', '--name', 'web-1', '--user', '1000', '-l', 'team=web', '-l', `purser.identity=${AUDIENCE}`, '-l', 'purser.file.pw=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    const claims = await verified(await docker('exec', id, 'cat', FILE));
    assert.equal(claims.sub, `workload:node-1/${id}`);
    assert.deepEqual(claims['container'], { id, name: 'web-1' });
    assert.equal(claims['image'], 'busybox');
    assert.match(String(claims['image_digest']), /^sha256:[0-9a-f]{64}$/);
    assert.equal(claims['node'], 'node-1');
    assert.equal((claims.exp ?? 0) - (claims.iat ?? 0), TTL_SECONDS);
    assert.equal(await docker('exec', id, 'stat', '-c', '%u %a', FILE), '1000 400');
    assert.equal(await docker('exec', id, 'cat', '/run/secrets/pw'), 'value', 'a secret beside it');
    await assert.rejects(verified(await docker('exec', id, 'cat', FILE), 'https://other'), /aud/);
    assert.equal((await docker('inspect', id)).includes((await docker('exec', id, 'cat', FILE)).slice(0, 40)), false, 'Docker does not know it');
    await docker('rm', '-f', id);
  });

  test('several audiences, by a glob', async () => {
    const token = await docker('run', '--rm', '-l', 'team=web', '-l', `purser.identity=${AUDIENCE},vault-eu`, 'busybox', 'cat', FILE);
    assert.deepEqual((await verified(token)).aud, [AUDIENCE, 'vault-eu']);
  });

  test('it is replaced before it ends, with an inotify event, while the container runs and over a restart of the agent', async () => {
    const id = await docker('run', '-d', '--name', 'fresh', '-l', 'team=web', '-l', `purser.identity=${AUDIENCE}`, 'busybox', 'sh', '-c', 'exec inotifywait -q -m -e moved_to --format %f /run/secrets');
    const read = (): Promise<string> => docker('exec', id, 'cat', FILE);
    const first = await read();
    const { jti, exp = 0 } = decodeJwt(first);
    await purser.end('agent', 'SIGKILL');
    await purser.startAgent();
    const second = await eventually('the refresh', async () => { const token = await read(); return token !== first && token; }, TTL_SECONDS * 1000);
    assert.ok(Date.now() / 1000 < exp, 'before the first one ends');
    assert.notEqual((await verified(second)).jti, jti);
    await eventually('the event', async () => (await docker('logs', id)).includes('identity.jwt'));
    const left = exp * 1000 - Date.now();
    await sleep(Math.max(0, left) + 1000);
    await verified(await read());
    await assert.rejects(verified(first), /exp/);
    const usage = JSON.parse(await purser.purser('usage', '--container', 'fresh', '--format', 'json')) as { path: string; field: string; version: number; opens: number }[];
    const row = usage.find(({ path }) => path === 'node/identity');
    assert.ok(row && row.field === AUDIENCE && row.version >= 2 && row.opens > 0, 'and it is in the ledger');
    await docker('rm', '-f', id);
  });

  for (const [what, flags, reason] of [
    ['an audience that the role does not have', ['-l', 'team=web', '-l', 'purser.identity=https://other'], /label purser\.identity: no workload role lets this container identify itself to https:\/\/other/],
    ['a container that the role does not mean', ['-l', `purser.identity=${AUDIENCE}`], /no workload role lets this container identify itself to https:\/\/api\.internal/],
    ['no audience', ['-l', 'purser.identity='], /label purser\.identity: an audience is empty/],
  ] as const) {
    test(`${what} does not start, with the reason`, async () => {
      const { status, stderr } = await run('docker', ['run', '--rm', ...flags, 'busybox', 'true']);
      assert.notEqual(status, 0);
      assert.match(stderr, reason);
    });
  }
});

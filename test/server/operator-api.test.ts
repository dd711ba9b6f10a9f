// What operators ask a core: init, unseal, health and leader with all their switches; remount, tools, policies, capabilities.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument, @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-return -- bodies of any shape */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { loadConfig } from '../../src/server/config.ts';
import { startServer, type RunningServer } from '../../src/server/server.ts';
import { call as callAt, silent, startUnsealed, temporaryDirectory, type Answer, type TestServer } from './running.ts';

describe('routes without a token', () => {
  let server: RunningServer;
  const data = temporaryDirectory();
  let key = '';
  const send = (method: string, path: string, body?: unknown): Promise<Answer> => callAt(server.address, method, path, { body });
  before(async () => { server = await startServer(loadConfig({ dataDir: data.path, listen: '127.0.0.1:0', http: true }), silent); });
  after(async () => { await server.close(); data.remove(); });

  const SWITCHES: readonly (readonly [query: string, uninitialized: number, sealed: number, active: number])[] = [
    ['', 501, 503, 200],
    ['?standbyok=true', 501, 503, 200], ['?perfstandbyok=true', 501, 503, 200],
    ['?uninitcode=200', 200, 503, 200], ['?sealedcode=204', 501, 204, 200], ['?activecode=299', 501, 503, 299],
    ['?standbycode=250', 501, 503, 200], ['?performancestandbycode=250&drsecondarycode=251', 501, 503, 200],
    ['?uninitcode=210&sealedcode=211&activecode=212', 210, 211, 212],
    ['?activecode=abc', 400, 400, 400], ['?sealedcode=1000', 400, 400, 400], ['?standbycode=-1', 400, 400, 400],
  ];
  const states = ['uninitialized', 'sealed', 'active'] as const;

  for (const [index, state] of states.entries()) {
    test(`sys/health of a core that is ${state}: every code and switch, GET and HEAD`, async () => {
      if (state === 'sealed') key = (await send('PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 })).body.keys[0];
      if (state === 'active') assert.equal((await send('PUT', 'sys/unseal', { key })).body.sealed, false);
      for (const row of SWITCHES) {
        const [got, head] = [await send('GET', `sys/health${row[0]}`), await send('HEAD', `sys/health${row[0]}`)];
        assert.deepEqual([got.status, head.status, head.text], [row[index + 1], row[index + 1], ''], row[0]);
        if (got.status !== 400 && got.status !== 204) assert.deepEqual([got.body.initialized, got.body.sealed, got.body.standby], [index > 0, index < 2, index < 2]);
      }
      const [health, seal] = [(await send('GET', 'sys/health')).body, (await send('GET', 'sys/seal-status')).body];
      if (state === 'active') assert.match(`${String(health.cluster_name)} ${String(health.cluster_id)}`, /^purser-cluster-([0-9a-f]{8}) \1-[0-9a-f-]{27}$/);
      else assert.equal('cluster_id' in health || 'cluster_name' in seal, false);
      assert.deepEqual([seal.cluster_name, seal.cluster_id], [health.cluster_name, health.cluster_id]);
      const leader = await send('GET', 'sys/leader');
      assert.deepEqual([leader.status, leader.body.ha_enabled], [200, false]);
    });
  }

  test('init and unseal refuse what the core does not have, with a hint', async () => {
    for (const [path, body] of [
      ['sys/init', { secret_shares: 1, secret_threshold: 1, pgp_keys: ['x'] }], ['sys/init', { secret_shares: 1, secret_threshold: 1, root_token_pgp_key: 'x' }],
      ['sys/init', { secret_shares: 1, secret_threshold: 1, recovery_shares: 3 }], ['sys/init', { secret_shares: 1, secret_threshold: 1, stored_shares: 1 }], ['sys/unseal', { key, migrate: true }],
    ] as const) {
      const answer = await send('PUT', path, body);
      assert.deepEqual([answer.status, typeof answer.body.hint], [400, 'string'], JSON.stringify(body));
    }
  });

  test('nothing else of sys/ answers without a token', async () => {
    for (const [method, path] of [['GET', 'sys/mounts'], ['POST', 'sys/remount'], ['POST', 'sys/tools/random'], ['POST', 'sys/tools/hash'], ['GET', 'sys/policy'], ['POST', 'sys/capabilities'], ['GET', 'sys/internal/ui/mounts/secret'],
      ['GET', 'sys/key-status'], ['POST', 'sys/capabilities-self'], ['GET', 'sys/audit'], ['POST', 'sys/audit-hash/file']] as const) {
      assert.equal((await send(method, path)).status, 403, `${method} ${path}`);
    }
  });
});

describe('sys/ of an unsealed core', () => {
  let server: TestServer;
  before(async () => { server = await startUnsealed({ audit: false }); });
  after(() => server.stop());
  const call = (method: string, path: string, body?: unknown, token?: string): Promise<Answer> => server.call(method, path, { body, ...(token === undefined ? {} : { token }) });
  const tokenWith = async (name: string, policy: string): Promise<string> => {
    await call('PUT', `sys/policies/acl/${name}`, { policy });
    return (await call('POST', 'auth/token/create', { policies: [name] })).body.auth.client_token;
  };

  test('remount: the mount answers at the new path with everything in it, and no longer at the old one', async () => {
    await call('POST', 'sys/mounts/team/a', { type: 'kv-v2' });
    await call('POST', 'team/a/data/x', { data: { v: 1 } });
    const accessor = (await call('GET', 'sys/mounts')).body.data['team/a/'].accessor;
    const moved = await call('POST', 'sys/remount', { from: 'team/a', to: '/team/b/' });
    assert.equal(moved.status, 200);
    const { body } = await call('GET', `sys/remount/status/${moved.body.migration_id}`);
    assert.deepEqual(body.data.migration_info, { source_mount: 'team/a/', target_mount: 'team/b/', status: 'success' });
    assert.deepEqual((await call('GET', 'team/b/data/x')).body.data.data, { v: 1 });
    assert.equal((await call('GET', 'team/a/data/x')).status, 404);
    assert.equal((await call('GET', 'sys/mounts')).body.data['team/b/'].accessor, accessor);
    assert.equal((await call('POST', 'team/b/data/x', { data: { v: 2 } })).body.data.version, 2);
    assert.equal((await call('POST', 'sys/mounts/team/a', { type: 'kv-v2' })).status, 204, 'the old path is free');
    assert.equal((await call('GET', 'team/a/data/x')).status, 404);
  });

  test('remount refuses built-in mounts, paths in use, unknown ones and crossing auth/, and needs sudo', async () => {
    await call('POST', 'sys/mounts/one', { type: 'kv-v2' });
    await call('POST', 'sys/mounts/two', { type: 'kv-v2' });
    for (const [from, to] of [['sys', 'x'], ['cubbyhole', 'x'], ['one', 'two'], ['one', 'two/inside'], ['one', 'one'], ['one', 'sys/x'], ['one', 'auth/x'], ['nowhere', 'x'], ['auth/token', 'auth/x'], ['auth/token', 'x'], ['', 'x'], ['one', '']]) {
      const answer = await call('POST', 'sys/remount', { from, to });
      assert.equal(answer.status, 400, `${from} → ${to}: ${answer.text}`);
    }
    assert.equal((await call('GET', 'sys/remount/status/none')).status, 400);
    const token = await tokenWith('mover', 'path "sys/remount" { capabilities = ["update"] }');
    assert.equal((await call('POST', 'sys/remount', { from: 'one', to: 'three' }, token)).status, 403);
    assert.equal((await call('GET', 'one/metadata/x')).status, 404);
  });

  test('tools/random: as many bytes as asked for, in either format, from the path or the body', async () => {
    const lengths: readonly (readonly [string, object, number])[] = [['', {}, 32], ['', { bytes: 5 }, 5], ['/7', {}, 7], ['/platform/9', {}, 9], ['/all', { bytes: '3' }, 3], ['/131072', {}, 131_072]];
    for (const [path, body, length] of lengths) {
      for (const format of ['base64', 'hex'] as const) {
        const answer = await call('POST', `sys/tools/random${path}`, { ...body, format });
        assert.equal(Buffer.from(answer.body.data.random_bytes, format).length, length, path);
      }
    }
    for (const [path, body] of [['/0', {}], ['/131073', {}], ['/x', {}], ['/seal/3', {}], ['', { bytes: -1 }], ['', { format: 'octal' }], ['', { source: 'dice' }], ['/1/2/3', {}]] as const) {
      assert.equal((await call('POST', `sys/tools/random${path}`, body)).status, 400, path);
    }
  });

  test('tools/hash: every algorithm of Vault', async () => {
    const input = Buffer.from('the quick brown fox').toString('base64');
    for (const [algorithm, name] of [['sha2-224', 'sha224'], ['sha2-256', 'sha256'], ['sha2-384', 'sha384'], ['sha2-512', 'sha512'], ['sha3-224', 'sha3-224'], ['sha3-256', 'sha3-256'], ['sha3-384', 'sha3-384'], ['sha3-512', 'sha3-512']] as const) {
      const expected = createHash(name).update('the quick brown fox').digest();
      assert.equal((await call('POST', `sys/tools/hash/${algorithm}`, { input })).body.data.sum, expected.toString('hex'));
      assert.equal((await call('POST', 'sys/tools/hash', { input, algorithm, format: 'base64' })).body.data.sum, expected.toString('base64'));
    }
    assert.equal((await call('POST', 'sys/tools/hash', { input })).body.data.sum, createHash('sha256').update('the quick brown fox').digest('hex'));
    for (const body of [{ input: 'not base64!' }, {}, { input, algorithm: 'md5' }, { input, algorithm: 'constructor' }, { input, format: 'text' }]) assert.equal((await call('POST', 'sys/tools/hash', body)).status, 400, JSON.stringify(body));
  });

  test('both forms of the policy API show the same policies', async () => {
    const text = 'path "secret/*" { capabilities = ["read"] }';
    assert.equal((await call('PUT', 'sys/policy/Both', { policy: text })).status, 200); // with a warning: lower case
    assert.deepEqual((await call('GET', 'sys/policies/acl/both')).body.data, { name: 'both', policy: text });
    assert.deepEqual([(await call('GET', 'sys/policy/both')).body.rules, (await call('GET', 'sys/policy/BOTH')).body.data.name], [text, 'both']);
    assert.equal((await call('POST', 'sys/policies/acl/both', { policy: Buffer.from(`# base64\n${text}`).toString('base64') })).status, 204);
    assert.match((await call('GET', 'sys/policy/both')).body.data.rules, /^# base64/);
    const lists = [(await call('LIST', 'sys/policies/acl')).body.data.keys, (await call('GET', 'sys/policy')).body.policies, (await call('LIST', 'sys/policy')).body.data.keys];
    for (const list of lists) assert.deepEqual([list.includes('both'), list.includes('root'), list.includes('default'), list.includes('response-wrapping')], [true, true, true, false]);
    for (const [method, name, body] of [['PUT', 'root', { policy: text }], ['DELETE', 'root'], ['DELETE', 'default'], ['PUT', 'response-wrapping', { policy: text }], ['DELETE', 'response-wrapping'], ['PUT', 'x', { policy: 'path {' }], ['PUT', 'x', {}]] as const) {
      for (const form of ['sys/policy', 'sys/policies/acl']) assert.equal((await call(method, `${form}/${name}`, body)).status, 400, `${method} ${form}/${name}`);
    }
    assert.equal((await call('DELETE', 'sys/policies/acl/both')).status, 204);
    assert.equal((await call('GET', 'sys/policy/both')).status, 404);
  });

  test('capabilities: of oneself, of a token, of an accessor; one path also by itself', async () => {
    const { body: { auth } } = await (async () => {
      await call('PUT', 'sys/policies/acl/caps', { policy: 'path "a" { capabilities = ["read", "create", "sudo"] }\npath "b/*" { capabilities = ["deny"] }' });
      return call('POST', 'auth/token/create', { policies: ['caps'] });
    })();
    const expected = { a: ['create', 'read', 'sudo'], 'b/c': ['deny'], other: ['deny'] };
    const paths = Object.keys(expected);
    for (const [path, body, token] of [['sys/capabilities-self', {}, auth.client_token], ['sys/capabilities', { token: auth.client_token }], ['sys/capabilities-accessor', { accessor: auth.accessor }]] as const) {
      const { data } = (await call('POST', path, { paths, ...body }, token as string | undefined)).body;
      assert.deepEqual(data, expected, path);
      const single = (await call('POST', path, { path: 'a', ...body }, token as string | undefined)).body;
      assert.deepEqual([single.capabilities, single.a, single.data.capabilities], [expected.a, expected.a, expected.a]);
    }
    assert.deepEqual((await call('POST', 'sys/capabilities-self', { path: 'x' })).body.capabilities, ['root']);
    for (const [path, body] of [['sys/capabilities-self', {}], ['sys/capabilities', { path: 'a' }], ['sys/capabilities', { path: 'a', token: 'hvs.nobody' }], ['sys/capabilities-accessor', { path: 'a', accessor: 'nobody' }], ['sys/capabilities-self', { paths: Array.from({ length: 1001 }, () => 'a') }]] as const) {
      assert.equal((await call('POST', path, body)).status, 400, path);
    }
  });

  test('internal/ui/resultant-acl shows the caller all rules of its policies', async () => {
    assert.equal((await call('GET', 'sys/internal/ui/resultant-acl')).body.data.root, true);
    const token = await tokenWith('resultant', 'path "one/two" { capabilities = ["read", "list"] }\npath "glob/*" { capabilities = ["deny", "read"] }\npath "plus/+/x*" { capabilities = ["update"] }');
    const { data } = (await call('GET', 'sys/internal/ui/resultant-acl', undefined, token)).body;
    assert.equal(data.root, false);
    assert.deepEqual(data.exact_paths['one/two'], { capabilities: ['list', 'read'] });
    assert.deepEqual([data.glob_paths['glob/'], data.glob_paths['plus/+/x'], data.exact_paths['auth/token/lookup-self']], [{ capabilities: ['deny'] }, { capabilities: ['update'] }, { capabilities: ['read'] }]);
    const bare = (await call('POST', 'auth/token/create', { policies: ['resultant'], no_default_policy: true })).body.auth.client_token;
    assert.equal((await call('GET', 'sys/internal/ui/resultant-acl', undefined, bare)).status, 403, 'the default policy allows it');
  });

  test('step-down of a single server changes nothing, and needs sudo', async () => {
    assert.equal((await call('PUT', 'sys/step-down')).status, 204);
    const token = await tokenWith('step', 'path "sys/*" { capabilities = ["update"] }');
    assert.equal((await call('PUT', 'sys/step-down', undefined, token)).status, 403);
    assert.equal((await call('GET', 'sys/mounts')).status, 200);
  });

  test('internal/ui/mounts shows strangers, and tokens without access, the mounts that are tuned to be seen, without their details', async () => {
    await call('POST', 'sys/auth/front', { type: 'userpass', description: 'staff', config: { listing_visibility: 'unauth' } });
    await call('POST', 'sys/auth/back', { type: 'userpass' });
    await call('POST', 'sys/mounts/open', { type: 'kv-v2' });
    await call('POST', 'sys/mounts/open/tune', { listing_visibility: 'unauth' });
    const bare = (await call('POST', 'auth/token/create', { policies: ['nothing'], no_default_policy: true })).body.auth.client_token;
    for (const token of [undefined, 'hvs.wrong', bare]) {
      const { status, body } = await server.call('GET', 'sys/internal/ui/mounts', { token });
      assert.deepEqual([status, body.data], [200, { secret: { 'open/': { type: 'kv', description: '', options: { version: '2' } } }, auth: { 'front/': { type: 'userpass', description: 'staff', options: null } } }]);
    }
    assert.ok('back/' in (await call('GET', 'sys/internal/ui/mounts')).body.data.auth);
    await call('POST', 'sys/auth/front/tune', { listing_visibility: 'hidden' });
    assert.deepEqual((await server.call('GET', 'sys/internal/ui/mounts', { token: undefined })).body.data.auth, {});
  });

  test('internal/ui/mounts shows a token what it can reach, and answers 403 for the rest', async () => {
    await call('POST', 'sys/mounts/hidden', { type: 'kv-v2' });
    await call('POST', 'sys/mounts/shown', { type: 'kv-v2' });
    const token = await tokenWith('viewer', 'path "shown/data/only/this" { capabilities = ["read"] }\npath "hidden/*" { capabilities = ["deny"] }');
    const { secret } = (await call('GET', 'sys/internal/ui/mounts', undefined, token)).body.data;
    assert.deepEqual([Object.hasOwn(secret, 'shown/'), Object.hasOwn(secret, 'hidden/')], [true, false]);
    const one = (await call('GET', 'sys/internal/ui/mounts/shown/data/x', undefined, token)).body.data;
    assert.deepEqual([one.path, one.type, one.options], ['shown/', 'kv', { version: '2' }]);
    for (const path of ['hidden', 'hidden/data/x', 'nowhere/x']) assert.equal((await call('GET', `sys/internal/ui/mounts/${path}`, undefined, token)).status, 403, path);
  });
});

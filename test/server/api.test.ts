// The API from outside, against a real listener: headers, envelope, the status table, routing and sys/ routes.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment -- bodies of any shape */

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { startUnsealed, type Answer, type TestServer } from './running.ts';

let server: TestServer;
before(async () => { server = await startUnsealed(); });
after(() => server.stop());

const call = (...args: Parameters<TestServer['call']>): Promise<Answer> => server.call(...args);
const errors = (answer: Answer): unknown => (answer.body as { errors?: unknown }).errors;
const data = (answer: Answer): Record<string, unknown> => (answer.body as { data: Record<string, unknown> }).data;

/** A token with the policy given, and the policy itself. */
async function tokenWith(name: string, rules: string, more: object = {}): Promise<string> {
  assert.equal((await call('PUT', `sys/policies/acl/${name}`, { body: { policy: rules } })).status, 204);
  const { body } = await call('POST', 'auth/token/create', { body: { policies: [name], ...more } });
  return (body as { auth: { client_token: string } }).auth.client_token;
}

describe('the envelope', () => {
  test('a response has exactly the two fixed headers and all keys of the envelope', async () => {
    await call('POST', 'secret/data/envelope', { body: { data: { a: 1 } } });
    const answer = await call('GET', 'secret/data/envelope');
    assert.equal(answer.headers['content-type'], 'application/json');
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.deepEqual(Object.keys(answer.body as object), ['request_id', 'lease_id', 'renewable', 'lease_duration', 'data', 'wrap_info', 'warnings', 'auth']);
    assert.match((answer.body as { request_id: string }).request_id, /^[0-9a-f]{8}-[0-9a-f-]{27}$/);
    assert.deepEqual(data(answer)['data'], { a: 1 });
  });

  test('a value comes back as it was, whether ASCII, Latin-1 or anything else', async () => {
    for (const value of ['plain', 'caf\u00e9 \u00ff\u0080', '\u20ac \u{1f600} \u4e2d', '\u2028"\\\n\t']) {
      await call('POST', 'secret/data/letters', { body: { data: { value, [value]: 1 } } });
      assert.deepEqual(data(await call('GET', 'secret/data/letters'))['data'], { value, [value]: 1 });
    }
  });

  test('the sys routes where Vault does so carry data at the top level too', async () => {
    for (const path of ['sys/mounts', 'sys/mounts/secret', 'sys/mounts/secret/tune', 'sys/auth', 'sys/auth/token', 'sys/audit', 'sys/policy', 'sys/policy/default', 'sys/key-status']) {
      const { body } = await call('GET', path);
      const { data: inner, ...top } = body as { data: Record<string, unknown> };
      for (const [key, value] of Object.entries(inner)) assert.deepEqual((top as Record<string, unknown>)[key], value, `${path}: ${key}`);
    }
    const { body } = await call('GET', 'sys/policies/acl/default');
    assert.equal('policy' in (body as object), false);
  });
});

describe('the status table', () => {
  const rows: readonly (readonly [name: string, method: string, path: string, options: object, status: number, errors: unknown])[] = [
    ['a write without an answer', 'PUT', 'sys/policies/acl/x', { body: { policy: 'path "a" {capabilities=["read"]}' } }, 204, undefined],
    ['a delete', 'DELETE', 'secret/data/absent', {}, 204, undefined],
    ['a read of nothing', 'GET', 'secret/data/absent', {}, 404, []],
    ['a list of nothing', 'LIST', 'secret/metadata/absent', {}, 404, []],
    ['an engine error', 'POST', 'secret/data/a', { body: {} }, 400, ['no data provided']],
    ['no token', 'GET', 'secret/data/a', { token: undefined }, 403, ['permission denied']],
    ['a wrong token', 'GET', 'secret/data/a', { token: 'hvs.wrong' }, 403, ['permission denied']],
    ['a wrong token on an unknown mount', 'GET', 'nowhere/a', { token: 'hvs.wrong' }, 403, ['permission denied']],
    ['an unknown mount', 'GET', 'nowhere/a', {}, 404, ['no handler for route "nowhere/a". route entry not found.']],
    ['an unknown path in sys', 'GET', 'sys/nothing', {}, 404, ['unsupported path']],
    ['another method on a sys path', 'DELETE', 'sys/seal', {}, 405, ['unsupported operation']],
    ['another method on an open path', 'DELETE', 'sys/health', {}, 405, ['unsupported operation']],
    ['an unknown method', 'OPTIONS', 'secret/data/a', {}, 405, ['unsupported operation']],
    ['HEAD where it is not offered', 'HEAD', 'secret/data/a', {}, 405, undefined],
    ['a patch without its content type', 'PATCH', 'secret/data/a', { body: { data: {} } }, 415, ['a patch needs the content type application/merge-patch+json']],
    ['a compressed body', 'POST', 'secret/data/a', { body: 'x', headers: { 'Content-Encoding': 'gzip' } }, 415, ['compressed request bodies are not accepted']],
    ['a body that is no JSON', 'POST', 'secret/data/a', { body: '{"data": canary' }, 400, ['error parsing JSON']],
    ['a body that is an array', 'POST', 'secret/data/a', { body: [] }, 400, ['the request body must be a JSON object']],
    ['a write to a folder', 'POST', 'secret/data/a/', { body: { data: {} } }, 400, ["cannot write to a path ending in '/'"]],
    ['wrapping for no time', 'GET', 'secret/data/a', { headers: { 'X-Vault-Wrap-TTL': 'soon' } }, 400, ['X-Vault-Wrap-TTL must be a duration such as 60, 90s or 5m']],
    ['wrapping for a negative time', 'GET', 'secret/data/a', { headers: { 'X-Vault-Wrap-TTL': '-1' } }, 400, ['X-Vault-Wrap-TTL must be a duration such as 60, 90s or 5m']],
    ['wrapping in another format', 'GET', 'secret/data/a', { headers: { 'X-Vault-Wrap-TTL': '60', 'X-Vault-Wrap-Format': 'jwt' } }, 400, ['wrapping tokens have no other format']],
    ['a namespace, which is not offered', 'GET', 'secret/data/a', { headers: { 'X-Vault-Namespace': 'team' } }, 400, ['namespaces are not supported']],
  ];
  for (const [name, method, path, options, status, expected] of rows) {
    test(`${name} is ${status}`, async () => {
      const answer = await call(method, path, options);
      assert.equal(answer.status, status, answer.text);
      assert.deepEqual(errors(answer), expected);
      assert.doesNotMatch(answer.text, /canary/);
      assert.equal(answer.headers['content-type'], 'application/json');
    });
  }

  test('a deleted version of a KV secret is 404 with its metadata', async () => {
    await call('POST', 'secret/data/gone', { body: { data: { a: 'x' } } });
    await call('DELETE', 'secret/data/gone');
    const answer = await call('GET', 'secret/data/gone');
    assert.equal(answer.status, 404);
    assert.equal(data(answer)['data'], null);
    assert.equal((data(answer)['metadata'] as { version: number }).version, 1);
  });

  test('the token is taken from the Bearer header too, and null and false fields count as absent', async () => {
    const answer = await call('POST', 'auth/token/create', { token: undefined, headers: { Authorization: `Bearer ${server.root}` }, body: { policies: ['default'], ttl: null, id: null } });
    assert.equal(answer.status, 200, answer.text);
  });
});

describe('policies in the pipeline', () => {
  test('PUT and POST need create for what is absent and update for what exists', async () => {
    const creator = await tokenWith('creator', 'path "secret/data/new/*" { capabilities = ["create"] }');
    assert.equal((await call('POST', 'secret/data/new/a', { token: creator, body: { data: { a: 1 } } })).status, 200);
    assert.equal((await call('PUT', 'secret/data/new/a', { token: creator, body: { data: { a: 2 } } })).status, 403);
  });

  test('a change of a policy holds for the next request of tokens that exist already', async () => {
    const token = await tokenWith('changing', 'path "secret/data/c" { capabilities = ["read"] }');
    await call('POST', 'secret/data/c', { body: { data: { a: 1 } } });
    assert.equal((await call('GET', 'secret/data/c', { token })).status, 200);
    await call('PUT', 'sys/policy/changing', { body: { policy: 'path "secret/data/c" { capabilities = ["deny"] }' } });
    assert.equal((await call('GET', 'secret/data/c', { token })).status, 403);
    await call('DELETE', 'sys/policy/changing');
    assert.equal((await call('GET', 'secret/data/c', { token })).status, 403);
  });

  test('sudo paths need sudo on top of the capability', async () => {
    const plain = await tokenWith('plain', 'path "sys/rotate" { capabilities = ["update"] }');
    const sudo = await tokenWith('sudoer', 'path "sys/rotate" { capabilities = ["update", "sudo"] }');
    assert.equal((await call('PUT', 'sys/rotate', { token: plain })).status, 403);
    assert.equal((await call('PUT', 'sys/rotate', { token: sudo })).status, 204);
  });

  test('a use is counted also when the request is denied, and a token with none left is refused', async () => {
    const token = await tokenWith('counted', 'path "secret/data/counted" { capabilities = ["read"] }', { num_uses: 2 });
    assert.equal((await call('GET', 'secret/data/other', { token })).status, 403);
    assert.equal((await call('GET', 'secret/data/counted', { token })).status, 404);
    assert.equal((await call('GET', 'secret/data/counted', { token })).status, 403);
    assert.equal((await call('POST', 'auth/token/lookup', { body: { token } })).status, 403);
  });

  for (const [name, change] of [
    ['its token is revoked', (token: string) => call('POST', 'auth/token/revoke', { body: { token } })],
    ['its policy is deleted', () => call('DELETE', 'sys/policy/slow')],
  ] as const) {
    test(`a write is refused when ${name} while its body is on the way`, async () => {
      const token = await tokenWith('slow', 'path "secret/data/slow" { capabilities = ["create", "update"] }');
      const { hostname, port } = new URL(server.server.address);
      const socket = connect(Number(port), hostname);
      let text = '';
      socket.on('data', (chunk) => { text += chunk.toString(); });
      socket.write(`POST /v1/secret/data/slow HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${token}\r\nConnection: close\r\nContent-Length: 16\r\n\r\n{"data":`);
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal((await change(token)).status, 204);
      socket.write('{"a":1}}');
      await new Promise((resolve) => socket.once('close', resolve));
      assert.match(text, /^HTTP\/1\.1 403 /);
      assert.equal((await call('GET', 'secret/data/slow')).status, 404);
    });
  }

  // The path that is decided on is the path that is stored: a token for one name cannot reach another by spelling it differently.
  const spellings: readonly (readonly [path: string, status: number])[] = [
    ['secret/data/mine/a', 200], ['secret/data/mine/%61', 200], ['secret/data/mine%2Fa', 200],
    ['secret/data/mine/../theirs', 400], ['secret/data/mine/%2e%2e/theirs', 400], ['secret/data/mine/..%2ftheirs', 400], ['secret/data/mine//a', 400],
    ['secret/data/mine/a%00', 400], ['secret/data/mine/a/', 400], ['secret/data/theirs', 403], ['secret/data/theirs%2Fmine', 403], ['secret/data/MINE/a', 403],
    ['secret/data/mine%252Fa', 403], ['secret//data/mine/a', 400], ['%73ecret/data/mine/a', 200],
  ];
  for (const [path, status] of spellings) {
    test(`a token for secret/data/mine/* gets ${status} for ${path}`, async () => {
      await call('POST', 'secret/data/mine/a', { body: { data: { a: 'own' } } });
      await call('POST', 'secret/data/theirs', { body: { data: { a: 'foreign' } } });
      const token = await tokenWith('mine', 'path "secret/data/mine/*" { capabilities = ["read"] }');
      const answer = await call('GET', path, { token });
      assert.equal(answer.status, status, answer.text);
      assert.doesNotMatch(answer.text, /foreign/);
    });
  }

  test('a deny on a folder stops LIST with and without the slash, by verb and by parameter', async () => {
    await call('POST', 'secret/data/vault/a', { body: { data: { a: 1 } } });
    const token = await tokenWith('nolist', 'path "secret/metadata/*" { capabilities = ["list"] }\npath "secret/metadata/vault/*" { capabilities = ["deny"] }');
    for (const [method, path] of [['LIST', 'secret/metadata/vault'], ['LIST', 'secret/metadata/vault/'], ['GET', 'secret/metadata/vault?list=true'], ['GET', 'secret/metadata/vault/?list=1']] as const) {
      assert.equal((await call(method, path, { token })).status, 403, `${method} ${path}`);
    }
    assert.equal((await call('LIST', 'secret/metadata', { token })).status, 200);
  });
});

describe('sys/', () => {
  test('sys/mounts enables kv-v2, uses it and wipes it when it is disabled', async () => {
    assert.equal((await call('POST', 'sys/mounts/team/a', { body: { type: 'kv-v2', description: 'd', config: {}, local: false } })).status, 204);
    await call('POST', 'team/a/data/x', { body: { data: { a: 1 } } });
    assert.equal((data(await call('GET', 'sys/mounts'))['team/a/'] as { description: string }).description, 'd');
    assert.equal(data(await call('GET', 'sys/mounts/team/a/tune'))['max_lease_ttl'], 2_764_800);
    for (const taken of ['team/a', 'team/a/b', 'team', 'sys', 'sys/x', 'auth/x', 'secret', 'node/x', 'cubbyhole', 'identity/x']) {
      assert.equal((await call('POST', `sys/mounts/${taken}`, { body: { type: 'kv-v2' } })).status, 400, taken);
    }
    assert.equal((await call('DELETE', 'sys/mounts/team/a')).status, 204);
    assert.equal((await call('DELETE', 'sys/mounts/team/a')).status, 204);
    assert.equal((await call('GET', 'team/a/data/x')).status, 404);
    await call('POST', 'sys/mounts/team/a', { body: { type: 'kv', options: { version: '2' } } });
    assert.equal((await call('GET', 'team/a/data/x')).status, 404);
    for (const builtIn of ['sys', 'auth/token', 'node']) assert.equal((await call('DELETE', `sys/mounts/${builtIn}`)).status, 400, builtIn);
  });

  test('sys/mounts enables kv of version 1, and tune makes it version 2 with everything in it', async () => {
    for (const [path, body] of [['one', { type: 'kv' }], ['two', { type: 'kv-v1' }], ['three', { type: 'generic' }], ['four', { type: 'kv', options: { version: '1' } }]] as const) {
      assert.equal((await call('POST', `sys/mounts/${path}`, { body })).status, 204);
      assert.deepEqual(data(await call('GET', `sys/mounts/${path}`))['options'], { version: '1' });
    }
    assert.equal((await call('PUT', 'one/db/prod', { body: { password: 'x', port: 5432 } })).status, 204);
    const read = await call('GET', 'one/db/prod');
    assert.deepEqual([read.status, data(read), read.body.lease_duration, read.body.lease_id], [200, { password: 'x', port: 5432 }, 2_764_800, '']);
    assert.deepEqual(data(await call('LIST', 'one')), { keys: ['db/'] });
    assert.equal((await call('POST', 'one/db/prod', { body: {} })).status, 400);
    assert.equal((await call('PATCH', 'one/db/prod', { body: { a: 1 }, headers: { 'Content-Type': 'application/merge-patch+json' } })).status, 405);
    assert.equal((await call('POST', 'sys/mounts/one/tune', { body: { options: { version: '2' } } })).status, 204);
    assert.deepEqual(data(await call('GET', 'sys/mounts/one'))['options'], { version: '2' });
    assert.deepEqual(data(await call('GET', 'one/data/db/prod'))['data'], { password: 'x', port: 5432 });
    for (const body of [{ options: { version: '1' } }, { options: { version: '3' } }, { options: { other: 'x' } }]) assert.equal((await call('POST', 'sys/mounts/one/tune', { body })).status, 400);
    assert.equal((await call('POST', 'sys/mounts/none/tune', { body: { options: { version: '2' } } })).status, 400);
    for (const path of ['one', 'two', 'three', 'four']) await call('DELETE', `sys/mounts/${path}`);
  });

  test('a null is a value where the body is what is kept, and an absent field everywhere else', async () => {
    await call('POST', 'sys/mounts/plain', { body: { type: 'kv' } });
    for (const path of ['plain/nulls', 'cubbyhole/nulls']) {
      for (const kept of [{ a: null, b: { c: null }, d: '' }, { a: null }]) {
        assert.equal((await call('POST', path, { body: kept })).status, 204);
        assert.deepEqual(data(await call('GET', path)), kept, path);
      }
    }
    const wrapped = await call('POST', 'sys/wrapping/wrap', { body: { a: null }, headers: { 'X-Vault-Wrap-TTL': '60' } });
    assert.deepEqual(data(await call('POST', 'sys/wrapping/unwrap', { body: { token: wrapped.body.wrap_info.token } })), { a: null });
    await call('POST', 'secret/data/nulls', { body: { data: { a: null }, options: null } });
    assert.deepEqual(data(await call('GET', 'secret/data/nulls'))['data'], { a: null });
    await call('POST', 'sys/policies/acl/nulls', { body: { policy: 'path "plain/*" { capabilities = ["create", "update"] denied_parameters = { "a" = [] } }' } });
    const { body: { auth } } = await call('POST', 'auth/token/create', { body: { policies: ['nulls'], ttl: null } });
    assert.equal((await call('POST', 'plain/nulls', { body: { a: null }, token: auth.client_token as string })).status, 403);
    await call('DELETE', 'sys/mounts/plain');
  });

  test('sys/mounts refuses what it cannot honour', async () => {
    for (const body of [{}, { type: 'nothing' }, { type: 'kv', options: { version: '3' } }, { type: 'kv-v2', local: true }, { type: 'kv-v2', config: { default_lease_ttl: '2h', max_lease_ttl: '1h' } }]) {
      assert.equal((await call('POST', 'sys/mounts/odd', { body })).status, 400, JSON.stringify(body));
    }
  });

  test('sys/policy and sys/policies/acl show one set of policies, text verbatim, names in lower case', async () => {
    const text = '# mine\npath "a/*" { capabilities = ["read"] }\n';
    assert.equal((await call('PUT', 'sys/policy/Mixed', { body: { rules: text } })).status, 200);
    assert.deepEqual(data(await call('GET', 'sys/policy/mixed')), { name: 'mixed', rules: text });
    assert.deepEqual(data(await call('GET', 'sys/policies/acl/MIXED')), { name: 'mixed', policy: text });
    assert.ok((data(await call('LIST', 'sys/policies/acl'))['keys'] as string[]).includes('mixed'));
    assert.equal((await call('PUT', 'sys/policies/acl/b64', { body: { policy: Buffer.from(text).toString('base64') } })).status, 204);
    assert.equal(data(await call('GET', 'sys/policies/acl/b64'))['policy'], text);
    assert.equal((await call('GET', 'sys/policy/none')).status, 404);
  });

  const badPolicies: readonly (readonly [name: string, policy: unknown])[] = [
    ['root', 'path "a" {capabilities=["read"]}'], ['ROOT', 'path "a" {capabilities=["read"]}'], ['%EF%BD%92oot', 'path "a" {capabilities=["read"]}'], ['purser-node', 'path "a" {capabilities=["read"]}'],
    ['bad', 'path "a" {capabilities=["fly"]}'], ['bad', ''], ['bad', undefined], ['bad', 5], ['a/b', 'path "a" {capabilities=["read"]}'], ['a%20b', 'path "a" {capabilities=["read"]}'],
  ];
  for (const [name, policy] of badPolicies) {
    test(`sys/policies/acl refuses ${JSON.stringify(policy)} as ${name}`, async () => {
      assert.equal((await call('PUT', `sys/policies/acl/${name}`, { body: { policy } })).status, 400);
    });
  }

  test('sys/policies/acl does not delete built-in policies and hides internal ones', async () => {
    for (const name of ['root', 'default', 'response-wrapping', 'purser-node']) assert.equal((await call('DELETE', `sys/policies/acl/${name}`)).status, 400, name);
    assert.equal((await call('GET', 'sys/policies/acl/purser-node')).status, 404);
    assert.doesNotMatch((await call('LIST', 'sys/policies/acl')).text, /purser-node|response-wrapping/);
  });

  test('sys/capabilities-self answers by the same ACL that decides', async () => {
    const token = await tokenWith('caps', 'path "secret/data/caps" { capabilities = ["read", "create"] }');
    const one = await call('POST', 'sys/capabilities-self', { token, body: { paths: ['secret/data/caps'] } });
    assert.deepEqual((one.body as { capabilities: unknown }).capabilities, ['create', 'read']);
    const two = await call('POST', 'sys/capabilities-self', { token, body: { paths: ['secret/data/caps', 'x'] } });
    assert.deepEqual(data(two), { 'secret/data/caps': ['create', 'read'], x: ['deny'] });
    assert.equal((await call('POST', 'sys/capabilities-self', { token, body: {} })).status, 400);
  });

  test('sys/internal/ui/mounts answers to tokens with any access below the mount, and to nobody else', async () => {
    const some = await tokenWith('some', 'path "secret/data/deep/*" { capabilities = ["read"] }');
    const answer = await call('GET', 'sys/internal/ui/mounts/secret/deep/x', { token: some });
    assert.deepEqual([answer.status, data(answer)['path'], data(answer)['options']], [200, 'secret/', { version: '2' }]);
    const none = await tokenWith('none', 'path "other/*" { capabilities = ["read"] }');
    for (const [path, token] of [['secret/x', none], ['nowhere/x', none], ['nowhere/x', some], ['secret/x', undefined], ['secret/x', 'wrong']] as const) {
      assert.equal((await call('GET', `sys/internal/ui/mounts/${path}`, { token })).status, 403, path);
    }
    assert.ok('secret/' in (data(await call('GET', 'sys/internal/ui/mounts', { token: some }))['secret'] as object));
    assert.ok(!('secret/' in (data(await call('GET', 'sys/internal/ui/mounts', { token: none }))['secret'] as object)));
  });

  test('sys/rotate adds a term, and what was written before still opens', async () => {
    await call('POST', 'secret/data/old', { body: { data: { a: 1 } } });
    const before = data(await call('GET', 'sys/key-status'))['term'] as number;
    assert.equal((await call('PUT', 'sys/rotate')).status, 204);
    assert.equal(data(await call('GET', 'sys/key-status'))['term'], before + 1);
    assert.equal((await call('GET', 'secret/data/old')).status, 200);
  });

  test('sys/leader says that there is no cluster', async () => {
    assert.equal((await call('GET', 'sys/leader', { token: undefined })).body.ha_enabled, false);
  });

  test('sys/health answers GET and HEAD, and its status codes can be chosen', async () => {
    assert.equal((await call('GET', 'sys/health', { token: undefined })).status, 200);
    assert.deepEqual([(await call('HEAD', 'sys/health')).status, (await call('HEAD', 'sys/health')).text], [200, '']);
    assert.equal((await call('GET', 'sys/health?activecode=299')).status, 299);
    for (const bad of ['activecode=x', 'activecode=99', 'sealedcode=600', 'uninitcode=']) assert.equal((await call('GET', `sys/health?${bad}`)).status, 400, bad);
  });
});

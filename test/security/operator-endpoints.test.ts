// Classes 9, 10 and 17: operators' endpoints without a token (CVE-2026-5807), audit devices as a way to write files (CVE-2025-54997),
// and wrapping tokens used twice or by two at once.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startUnsealed, type TestServer } from '../server/running.ts';
import { tokenWith } from './tokens.ts';

let server: TestServer;
before(async () => { server = await startUnsealed(); });
after(() => server.stop());

const operators: readonly (readonly [method: string, path: string])[] = [
  ['PUT', 'sys/rekey/init'], ['DELETE', 'sys/rekey/init'], ['PUT', 'sys/rekey/update'], ['DELETE', 'sys/rekey/verify'], ['PUT', 'sys/generate-root/attempt'], ['DELETE', 'sys/generate-root/attempt'], ['PUT', 'sys/generate-root/update'],
  ['PUT', 'sys/seal'], ['PUT', 'sys/rotate'], ['PUT', 'sys/audit/x'], ['DELETE', 'sys/audit/file'], ['GET', 'sys/audit'], ['GET', 'sys/audit/log'], ['GET', 'sys/audit/tail'], ['GET', 'sys/audit/key/file'], ['GET', 'sys/audit/verify/file'],
];
for (const [method, path] of operators) {
  test(`${method} ${path} is refused without a token, with a wrong one, and to a token without sudo`, async () => {
    const { token } = await tokenWith(server, 'no-sudo', 'path "sys/*" { capabilities = ["create", "read", "update", "delete", "list"] }');
    for (const shown of [undefined, 'hvs.wrong', token]) {
      assert.equal((await server.call(method, path, { token: shown, ...(method === 'PUT' ? { body: { secret_shares: 1, secret_threshold: 1, key: 'x', nonce: 'x' } } : {}) })).status, 403, String(shown === token));
    }
  });
}

for (const path of ['/etc/cron.d/purser', '../up.log', 'sub/x.log', '.profile', '/proc/self/mem', 'a\u0000b']) {
  test(`an audit file at ${JSON.stringify(path)} is refused and not made`, async () => {
    for (const options of [{ file_path: path }, { file_path: path, mode: '0777' }, { file_path: 'x.sh', prefix: '#!/bin/sh\n' }, { file_path: 'x.sh', mode: '0755' }]) {
      assert.equal((await server.call('PUT', 'sys/audit/evil', { body: { type: 'file', options } })).status, 400);
    }
    assert.ok(!existsSync('/etc/cron.d/purser') && !existsSync(join(server.directory, 'up.log')) && !existsSync(join(server.directory, 'audit', 'x.sh')));
  });
}

test('of twenty who unwrap one token at once exactly one gets the secret', async () => {
  await server.call('POST', 'secret/data/wrapped', { body: { data: { password: 'canary-wrapped' } } });
  const { wrap_info: { token } } = (await server.call('GET', 'secret/data/wrapped', { headers: { 'X-Vault-Wrap-TTL': '60s' } })).body as { wrap_info: { token: string } };
  for (let i = 0; i < 2; i++) assert.equal((await server.call('POST', 'sys/wrapping/lookup', { token: undefined, body: { token } })).status, 200, 'a lookup does not use it up');
  const answers = await Promise.all(Array.from({ length: 20 }, () => server.call('POST', 'sys/wrapping/unwrap', { token })));
  assert.deepEqual(answers.filter(({ text }) => text.includes('canary-wrapped')).length, 1);
  assert.ok(answers.every(({ status }) => status === 200 || status >= 400 && status < 500));
  assert.ok((await server.call('POST', 'sys/wrapping/unwrap', { token })).status >= 400);
});

test('an ordinary token cannot be unwrapped, and lives on', async () => {
  const { token } = await tokenWith(server, 'plain', 'path "secret/data/x" { capabilities = ["read"] }');
  assert.ok((await server.call('POST', 'sys/wrapping/unwrap', { body: { token } })).status >= 400);
  assert.equal((await server.call('GET', 'auth/token/lookup-self', { token })).status, 200);
});

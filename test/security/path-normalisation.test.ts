// Class 1, two readings of one path (CVE-2026-3605, Vault's refusal of `//`): what the policy decides on is what is routed, stored
// and audited. Every spelling of a forbidden path is refused, and no spelling stores a second secret beside the first.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startUnsealed, type TestServer } from '../server/running.ts';
import { tokenWith } from './tokens.ts';

let server: TestServer;
let token: string;
before(async () => {
  server = await startUnsealed();
  await server.call('POST', 'secret/data/mine/a', { body: { data: { owner: 'mine' } } });
  await server.call('POST', 'secret/data/theirs/a', { body: { data: { owner: 'theirs' } } });
  ({ token } = await tokenWith(server, 'mine', 'path "secret/data/mine/*" { capabilities = ["create", "read", "update", "delete", "patch"] }'));
});
after(() => server.stop());

const spellings = [
  'secret/data/mine/../theirs/a', 'secret/data/mine/%2e%2e/theirs/a', 'secret/data/mine/%2E./theirs/a', 'secret/data/mine/..%2ftheirs%2fa', 'secret/data/mine%2f..%2ftheirs/a',
  'secret/data/mine/.%2e/theirs/a', 'secret/data/./theirs/a', 'secret/data//theirs/a', 'secret//data/theirs/a',
  'secret/data/mine\\..\\theirs/a', 'secret/data/theirs/a%00/mine', 'secret/data/theirs/a/', 'secret/data/theirs/a%2f', '/secret/data/theirs/a',
  'secret/data/%74heirs/a', 'secret/data/THEIRS/a', 'secret/data/theirs%20/a', 'secret/data/theirs/a?list=true', 'secret/data/mine/%c0%ae%c0%ae/theirs/a'
];
/** Odd names, but names: they lie below mine/ for the policy, the store and the audit log alike. */
const oddNames = ['%252e%252e/theirs/a', '..;/theirs/a', '\u2024\u2024/theirs/a'];

for (const path of spellings) {
  for (const method of ['GET', 'POST', 'DELETE', 'LIST'] as const) {
    test(`${method} ${path} does not reach the other secret`, async () => {
      const answer = await server.call(method, encodeURI(path).replaceAll('%25', '%'), { token, ...(method === 'POST' ? { body: { data: { owner: 'taken' } } } : {}) });
      assert.doesNotMatch(answer.text, /theirs"/);
      assert.ok(answer.status >= 400 && answer.status < 500, `${answer.status}`);
      assert.deepEqual((await server.call('GET', 'secret/data/theirs/a')).body.data.data, { owner: 'theirs' }); // eslint-disable-line @typescript-eslint/no-unsafe-member-access
    });
  }
}

for (const name of oddNames) {
  test(`${name} is a name below the folder that the policy allows, and nothing else`, async () => {
    assert.equal((await server.call('POST', `secret/data/mine/${encodeURI(name).replaceAll('%25', '%')}`, { token, body: { data: { owner: 'odd' } } })).status, 200);
    assert.deepEqual((await server.call('GET', 'secret/data/theirs/a')).body.data.data, { owner: 'theirs' }); // eslint-disable-line @typescript-eslint/no-unsafe-member-access
  });
}

test('escaped and plain spellings are one secret, one policy decision and one path in the audit log', async () => {
  await server.call('POST', 'secret/data/mine/%62', { token, body: { data: { n: 1 } } });
  assert.equal((await server.call('GET', 'secret/data/mine%2Fb', { token })).status, 200);
  assert.deepEqual(((await server.call('LIST', 'secret/metadata/mine')).body.data.keys as string[]).filter((key) => /^%?6?b|^a/.test(key)), ['a', 'b']); // eslint-disable-line @typescript-eslint/no-unsafe-member-access
  const log = readFileSync(join(server.directory, 'audit', 'audit.log'), 'utf8');
  assert.ok(log.includes('"path":"secret/data/mine/b"') && !log.includes('"path":"secret/data/mine/%62"'));
});

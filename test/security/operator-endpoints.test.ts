// Class 10: operators' endpoints without a token (CVE-2026-5807).

import assert from 'node:assert/strict';
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

// Class 2, a deny that LIST walks around (GHSA-xp3c): with and without the slash, by verb and by parameter, for `+` and `*`, over
// both kv versions.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { startUnsealed, type TestServer } from '../server/running.ts';
import { tokenWith } from './tokens.ts';

let server: TestServer;
before(async () => {
  server = await startUnsealed({ audit: false });
  await server.call('POST', 'sys/mounts/old', { body: { type: 'kv' } });
  await server.call('POST', 'secret/data/team/vault/a', { body: { data: { a: 1 } } });
  await server.call('POST', 'old/team/vault/a', { body: { a: 1 } });
});
after(() => server.stop());

/** The verb LIST itself, which Node's client does not send. */
function rawList(path: string, token: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.server.address);
    const socket = connect(Number(port), hostname);
    let text = '';
    socket.on('data', (chunk) => { text += chunk.toString('latin1'); }).on('error', reject).on('close', () => resolve(Number(text.slice(9, 12))));
    socket.write(`LIST /v1/${path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${token}\r\nConnection: close\r\n\r\n`);
  });
}

const rules = ['team/+', 'team/*', 'team/vault', 'team/vault/', 'team/vault/*', 'team/+/', '+/vault'];
for (const [mount, name] of [['secret/metadata/', 'v2'], ['old/', 'v1']] as const) {
  for (const [index, rule] of rules.entries()) {
    test(`a deny on ${mount}${rule} stops every form of LIST of the folder`, async () => {
      const { token } = await tokenWith(server, `deny-${name}-${index}`, `path "${mount}*" { capabilities = ["list", "read"] } path "${mount}${rule}" { capabilities = ["deny"] }`);
      const folder = `${mount}team/vault`;
      const answers = [
        (await server.call('LIST', folder, { token })).status, (await server.call('GET', `${folder}/?list=true`, { token })).status,
        (await server.call('GET', `${folder}?list=1`, { token })).status, await rawList(folder, token), await rawList(`${folder}/`, token),
      ];
      assert.deepEqual(answers, [403, 403, 403, 403, 403]);
      assert.equal((await server.call('LIST', mount.slice(0, -1), { token })).status, 200, 'the rest is not denied');
    });
  }
}

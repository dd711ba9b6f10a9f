// The server's own CA, judged by OpenSSL and a real TLS handshake, and its state files, damaged one by one.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs';
import { createServer, get } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { isPurserError } from '../../src/lib/errors.ts';
import { ownIdentity } from '../../src/server/tls/own-authority.ts';

const DAY = 86_400_000;
const root = mkdtempSync(join(tmpdir(), 'purser-tls-'));
after(() => rmSync(root, { recursive: true }));
let count = 0;
function dataDirectory(): string {
  const path = join(root, String(++count));
  mkdirSync(path);
  return path;
}
const NAMES = ['10.1.2.3', 'core.example', 'fe80::1'];

describe('ownIdentity()', () => {
  test('ownIdentity() makes a CA and a certificate that OpenSSL accepts strictly, with private keys that only the owner reads', async () => {
    const data = dataDirectory();
    const identity = await ownIdentity(data, NAMES, Date.now());
    const output = execFileSync('openssl', ['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_hostname', 'core.example', '-CAfile', identity.authorityPath!, join(data, 'tls', 'server.pem')]);
    assert.match(output.toString(), /: OK/);
    const modes = Object.fromEntries(readdirSync(join(data, 'tls')).map((name) => [name, (statSync(join(data, 'tls', name)).mode & 0o777).toString(8)]));
    assert.deepEqual(modes, { 'ca.pem': '644', 'ca-key.pem': '600', 'server.pem': '600' });
    const names = new X509Certificate(identity.certificate).subjectAltName!;
    for (const name of ['DNS:localhost', 'IP Address:127.0.0.1', 'IP Address:0:0:0:0:0:0:0:1', 'IP Address:10.1.2.3', 'DNS:core.example', 'IP Address:FE80:0:0:0:0:0:0:1']) assert.ok(names.includes(name), `${name} in ${names}`);
  });

  test('ownIdentity() is trusted by a client that has only its CA, and not by others', async () => {
    const identity = await ownIdentity(dataDirectory(), [], Date.now());
    const server = createServer({ cert: identity.certificate, key: identity.key }, (_request, response) => response.end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const outcome = (ca?: string): Promise<unknown> => new Promise((resolve) => {
      get({ host: '127.0.0.1', port, agent: false, ...(ca === undefined ? {} : { ca }) }, (response) => { response.resume(); resolve(response.statusCode); })
        .on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    });
    assert.equal(await outcome(identity.authority), 200);
    assert.equal(await outcome((await ownIdentity(dataDirectory(), [], Date.now())).authority), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    await new Promise((resolve) => server.close(resolve));
  });

  test('ownIdentity() keeps what it made, and renews the certificate alone when names change or 30 days are left', async () => {
    const data = dataDirectory();
    const now = Date.now();
    const first = await ownIdentity(data, NAMES, now);
    assert.deepEqual(await ownIdentity(data, ['FE80:0::1', 'CORE.example', '10.1.2.3'], now + 300 * DAY), first);
    const late = await ownIdentity(data, NAMES, now + 336 * DAY);
    assert.notEqual(late.certificate, first.certificate);
    assert.equal(late.authority, first.authority);
    const renamed = await ownIdentity(data, ['other.example'], now + 336 * DAY);
    assert.match(new X509Certificate(renamed.certificate).subjectAltName!, /other\.example/);
    assert.equal(renamed.authority, first.authority);
  });

  test('ownIdentity() starts over a first start that was killed before it was complete', async () => {
    const data = dataDirectory();
    mkdirSync(join(data, 'tls.new'));
    writeFileSync(join(data, 'tls.new', 'ca-key.pem'), 'half');
    assert.ok((await ownIdentity(data, [], Date.now())).authority);
    assert.deepEqual(readdirSync(data), ['tls']);
  });

  const damages: readonly (readonly [name: string, damage: (tls: string) => void])[] = [
    ...['ca.pem', 'ca-key.pem', 'server.pem'].flatMap((name) => [
      [`${name} is missing`, (tls: string) => unlinkSync(join(tls, name))],
      [`${name} is empty`, (tls: string) => truncateSync(join(tls, name), 0)],
      [`${name} is cut in half`, (tls: string) => truncateSync(join(tls, name), 150)],
      [`${name} is a symbolic link`, (tls: string) => { writeFileSync(join(tls, 'x'), readFileSync(join(tls, name)), { mode: 0o600 }); unlinkSync(join(tls, name)); symlinkSync('x', join(tls, name)); }],
    ] as const),
    ['the CA key is readable by others', (tls) => chmodSync(join(tls, 'ca-key.pem'), 0o640)],
    ['the server key is readable by others', (tls) => chmodSync(join(tls, 'server.pem'), 0o604)],
    ['the folder is empty', (tls) => { for (const name of readdirSync(tls)) unlinkSync(join(tls, name)); }],
  ];
  for (const [name, damage] of damages) {
    test(`ownIdentity() refuses to start, and recreates nothing, when ${name}`, async () => {
      const data = dataDirectory();
      await ownIdentity(data, [], Date.now());
      damage(join(data, 'tls'));
      const before = readdirSync(join(data, 'tls'));
      await assert.rejects(ownIdentity(data, [], Date.now()), (error) => isPurserError(error, 'ERR_STATE_CORRUPT'));
      assert.deepEqual(readdirSync(join(data, 'tls')), before);
    });
  }

  test('ownIdentity() refuses the CA of another server', async () => {
    const [data, other] = [dataDirectory(), dataDirectory()];
    await ownIdentity(data, [], Date.now());
    await ownIdentity(other, [], Date.now());
    for (const name of ['ca.pem', 'ca-key.pem']) writeFileSync(join(data, 'tls', name), readFileSync(join(other, 'tls', name)));
    await assert.rejects(ownIdentity(data, [], Date.now()), (error) => isPurserError(error, 'ERR_STATE_CORRUPT'));
  });
});

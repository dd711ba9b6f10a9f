// The configuration: everything that is not understood is refused by name, values are never quoted.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { isPurserError } from '../../src/lib/errors.ts';
import { isLoopback, loadConfig } from '../../src/server/config.ts';

const directory = mkdtempSync(join(tmpdir(), 'purser-config-'));
after(() => rmSync(directory, { recursive: true }));
let count = 0;
function file(content: string | object): string {
  const path = join(directory, `${++count}.json`);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

describe('loadConfig()', () => {
  test('loadConfig() without anything listens on loopback with its own CA and one audit file, and is frozen', () => {
    const config = loadConfig({});
    assert.deepEqual(config, {
      dataDirectory: '/var/lib/purser/server', listen: { host: '127.0.0.1', port: 8200 }, publicAddress: undefined, tls: { kind: 'own', names: [] },
      autoUnseal: undefined, audit: { directory: '/var/lib/purser/server/audit', devices: [{ name: 'file', file: 'audit.log' }], replaceDamaged: false },
      web: true, logLevel: 'info', maxBodyBytes: 33_554_432, allowGenerateRoot: false, notify: [], unauthenticatedMetrics: false, ttls: { defaultTtlSeconds: 2_764_800, maxTtlSeconds: 2_764_800 }, usageHistory: { maxAgeMs: 90 * 24 * 3600_000, maxBytes: 2 * 1024 ** 3 }, dev: undefined,
    });
    assert.throws(() => { (config.listen as { port: number }).port = 1; }, TypeError);
  });

  test('loadConfig() puts flags above the file', () => {
    const config = loadConfig({ config: file({ listen: '127.0.0.1:1', log_level: 'warn', tls_names: ['a.example'] }), listen: '[::1]:2', tlsName: ['b.example'] });
    assert.deepEqual([config.listen, config.logLevel, config.tls], [{ host: '::1', port: 2 }, 'warn', { kind: 'own', names: ['b.example', 'a.example'] }]);
  });

  test('loadConfig() takes an empty audit list as the wish for no audit device', () => {
    assert.deepEqual(loadConfig({ config: file({ audit: [] }) }).audit?.devices, []);
  });

  test('loadConfig() makes of --audit-file its folder and one device in it', () => {
    assert.deepEqual(loadConfig({ auditFile: '/var/log/purser/audit.log' }).audit, { directory: '/var/log/purser', devices: [{ name: 'file', file: 'audit.log' }], replaceDamaged: false });
  });

  test('loadConfig() takes the example of FORMAT.md', () => {
    const [, example] = /```json\n([^`]+)```/.exec(readFileSync(new URL('../../src/server/FORMAT.md', import.meta.url), 'utf8'))!;
    const config = loadConfig({ config: file(example!) });
    assert.deepEqual([config.audit?.directory, config.publicAddress, config.autoUnseal], ['/var/log/purser', 'https://core.example:8200', { keyFile: '/etc/purser/unseal-key', initIfNeeded: false }]);
  });

  const refused: readonly (readonly [name: string, options: () => object, message: RegExp])[] = [
    ['an unknown flag', () => ({ colour: 'red' }), /the options: unknown key "colour"/],
    ['an unknown key of the file', () => ({ config: file({ listn: 'x' }) }), /unknown key "listn"/],
    ['an unknown key inside tls', () => ({ config: file({ tls: { certificate: 'a', key: 'b', cafile: 'c' } }) }), /unknown key "cafile"/],
    ['a file that is no JSON', () => ({ config: file('{"listen": canary') }), /is not valid JSON$/],
    ['a file that is not there', () => ({ config: join(directory, 'none.json') }), /cannot be read \(ENOENT\)/],
    ['plain HTTP on every address', () => ({ http: true, listen: '0.0.0.0:8200' }), /plain HTTP is allowed on a loopback address only/],
    ['plain HTTP on a host name', () => ({ http: true, listen: 'core.example:8200' }), /loopback/],
    ['--dev on every address', () => ({ dev: true, listen: '0.0.0.0:8200' }), /loopback/],
    ['--dev with a data directory', () => ({ dev: true, dataDir: '/x' }), /data_directory cannot be combined with --dev/],
    ['--dev-root-token alone', () => ({ devRootToken: 'root' }), /needs --dev/],
    ['--init-if-needed alone', () => ({ initIfNeeded: true }), /needs --auto-unseal-key-file/],
    ['a certificate without key', () => ({ tlsCert: '/x' }), /belong together/],
    ['http with tls', () => ({ http: true, tlsCert: '/x', tlsKey: '/y' }), /cannot be combined/],
    ['a listener without port', () => ({ listen: '127.0.0.1' }), /ADDRESS:PORT/],
    ['a port that is none', () => ({ listen: '127.0.0.1:65536' }), /ADDRESS:PORT/],
    ['a public address with a path', () => ({ publicAddress: 'https://a.example/x' }), /public_address must be a URL/],
    ['a public address with credentials', () => ({ publicAddress: 'https://canary:canary@a.example' }), /public_address must be a URL/],
    ['an audit file outside the directory', () => ({ config: file({ audit: [{ name: 'a', file: '../x' }] }) }), /audit.0.file: must be a plain file name/],
    ['two audit devices of one name', () => ({ config: file({ audit: [{ name: 'a', file: 'x' }, { name: 'a', file: 'y' }] }) }), /same name/],
    ['a default TTL above the maximum', () => ({ config: file({ default_lease_ttl: '2h', max_lease_ttl: '1h' }) }), /default_lease_ttl cannot be greater/],
    ['a TTL that is none', () => ({ config: file({ max_lease_ttl: 'canary' }) }), /max_lease_ttl must be a duration/],
    ['a TTL of nothing', () => ({ config: file({ default_lease_ttl: 0 }) }), /default_lease_ttl must be a duration/],
    ['a negative TTL', () => ({ config: file({ default_lease_ttl: '-1h' }) }), /default_lease_ttl must be a duration/],
    ['a TTL of centuries', () => ({ config: file({ max_lease_ttl: '876000h' }) }), /max_lease_ttl must be a duration/],
    ['an unknown log level', () => ({ logLevel: 'loud' }), /logLevel/],
    ['a certificate name with a blank', () => ({ tlsName: ['a b'] }), /tls_names/],
  ];
  for (const [name, options, message] of refused) {
    test(`loadConfig() refuses ${name}`, () => {
      assert.throws(() => loadConfig(options()), (error) => {
        assert.ok(isPurserError(error, 'ERR_CONFIG_INVALID'));
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /canary/);
        return true;
      });
    });
  }
});

describe('isLoopback()', () => {
  for (const [host, expected] of [['127.0.0.1', true], ['127.8.0.1', true], ['::1', true], ['localhost', true], ['0.0.0.0', false], ['::', false], ['10.0.0.1', false], ['127.0.0.1.example', false]] as const) {
    test(`isLoopback() says ${expected} for ${host}`, () => assert.equal(isLoopback(host), expected));
  }
});

// MariaDB with its key management plugin for HashiCorp Vault (libcurl), as Debian packages both, keeps the keys of its tables in a core: a real
// mariadbd in a temporary directory, reached by its socket alone. The plugin reads `sys/mounts/<mount>/tune` once and `<mount>/data/<key>` ever after.

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes, randomUUID } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { CoreClient } from '../../src/client/core-client.ts';
import { loadConfig } from '../../src/server/config.ts';
import { startServer, type RunningServer } from '../../src/server/server.ts';
import { eventually, must } from '../e2e/command.ts';
import { silent, temporaryDirectory } from './running.ts';

const PLUGIN = '/usr/lib/mysql/plugin/hashicorp_key_management.so';
const SERVER = '/usr/sbin/mariadbd';
const skip = !(existsSync(PLUGIN) && existsSync(SERVER)) && 'mariadb-plugin-hashicorp-key-management is not installed';
const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' };

const directory = temporaryDirectory();
const inside = (name: string): string => join(directory.path, name);
const value = randomUUID();
let core: RunningServer;
let client: CoreClient;
let share: string;
let token: string;
let rootToken: string;
let database: ChildProcess | undefined;

/** The plugin wants 32 bytes in hexadecimal, in the field `data` of the secret named after the key's number. */
const putKey = (mount: string, id: number): Promise<unknown> => client.write(`${mount}/data/${id}`, { data: { data: randomBytes(32).toString('hex') } });

/** Writes MariaDB's configuration: every table and the log encrypted, with the keys of this mount, as this token; each use asks for the newest version. */
function configure(mount: string, as = token): void {
  writeFileSync(inside('my.cnf'), `[mariadbd]
datadir=${inside('mariadb')}
socket=${inside('socket')}
pid-file=${inside('pid')}
skip-networking
${process.getuid?.() === 0 ? 'user=root' : ''}
innodb-buffer-pool-size=16M
innodb-log-file-size=4M
innodb-encrypt-tables=FORCE
innodb-encrypt-log=ON
innodb-encryption-threads=1
innodb-encryption-rotate-key-age=1
plugin-load-add=hashicorp_key_management.so
hashicorp-key-management-vault-url=${core.address}/v1/${mount}
hashicorp-key-management-vault-ca=${inside('core/tls/ca.pem')}
hashicorp-key-management-token=${as}
hashicorp-key-management-cache-version-timeout=0
`, { mode: 0o600 });
}

/** What the database answers: a line each, columns by tabs. */
const query = async (sql: string): Promise<string> => (await must('mariadb', ['--no-defaults', `--socket=${inside('socket')}`, '--user=root', '--batch', '--skip-column-names', '--execute', sql], { env })).trim();

/** Starts mariadbd, its log empty; true when it answers, false when it gave up. */
async function start(): Promise<boolean> {
  const log = openSync(inside('log'), 'w', 0o600);
  const child = spawn(SERVER, [`--defaults-file=${inside('my.cnf')}`], { env, stdio: ['ignore', log, log] });
  closeSync(log);
  database = child;
  return (await eventually('an answer of mariadbd, or its end', async () => child.exitCode !== null || child.signalCode !== null ? 'ended' : (await query('select 1')) === '1' && 'answers', 60_000)) === 'answers';
}

async function stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
  if (database === undefined || database.exitCode !== null || database.signalCode !== null) return;
  const ended = once(database, 'exit');
  database.kill(signal);
  await ended;
}

const logged = (): string => readFileSync(inside('log'), 'utf8');

before(async () => {
  if (skip !== false) return;
  core = await startServer(loadConfig({ dataDir: inside('core'), listen: '127.0.0.1:0' }), silent);
  const connection = { address: core.address, certificateAuthority: readFileSync(inside('core/tls/ca.pem'), 'utf8') };
  const { body } = await new CoreClient(connection).request('PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 });
  [share] = body['keys'] as [string];
  rootToken = body['root_token'] as string;
  client = new CoreClient({ ...connection, token: rootToken });
  await client.write('sys/unseal', { key: share });
  await client.write('sys/mounts/mariadb', { type: 'kv-v2' });
  await client.write('sys/mounts/old', { type: 'kv' });
  await client.write('sys/policies/acl/mariadb', { policy: 'path "mariadb/data/*" { capabilities = ["read"] } path "sys/mounts/mariadb/tune" { capabilities = ["read"] }' });
  token = (await client.authenticate('auth/token/create-orphan', { policies: ['mariadb'], period: '24h' }))['client_token'] as string;
  await putKey('mariadb', 1);
  await putKey('mariadb', 7);
  await must('mariadb-install-db', ['--no-defaults', `--datadir=${inside('mariadb')}`, '--innodb-log-file-size=4M', '--auth-root-authentication-method=normal', '--skip-test-db', ...(process.getuid?.() === 0 ? ['--user=root'] : [])], { env });
});
after(async () => {
  await stop('SIGKILL');
  if (skip === false) await core.close();
  directory.remove();
});

describe('MariaDB’s hashicorp_key_management', { skip, timeout: 120_000 }, () => {
  test('tables are encrypted with a key of the core, and read again after a restart', async () => {
    configure('mariadb');
    assert.ok(await start(), logged());
    await query(`create database shop; create table shop.a (v varchar(64)) engine=innodb encryption_key_id=7; insert into shop.a values ("${value}"); flush tables shop.a for export`);
    await stop();
    assert.ok(!readFileSync(inside('mariadb/shop/a.ibd')).includes(value));
    assert.ok(await start(), logged());
    assert.equal(await query('select v from shop.a'), value);
  });

  test('new versions of the key re-encrypt the table while it is in use; the old ones are not needed again', async () => {
    await putKey('mariadb', 7); // MariaDB re-encrypts what is more than one version old (innodb_encryption_rotate_key_age)
    await putKey('mariadb', 7);
    await query('set global innodb_encryption_rotate_key_age = 1'); // which also wakes the thread that does it
    const versions = 'select min_key_version, current_key_version from information_schema.innodb_tablespaces_encryption where name = "shop/a" and not sleep(0.1)';
    await eventually('the use of version 3', async () => (await query(versions)) === '3\t3', 60_000);
    await stop();
    await client.write('mariadb/destroy/7', { versions: [1, 2] });
    assert.ok(await start(), logged());
    assert.equal(await query('select v from shop.a'), value);
  });

  test('a sealed core: who has the keys goes on, who starts is refused until it is unsealed', async () => {
    await client.write('sys/seal');
    assert.equal(await query('select v from shop.a'), value);
    await stop();
    assert.equal(await start(), false);
    assert.match(logged(), /Hashicorp server error: 503, response: .*Vault is sealed/);
    await client.write('sys/unseal', { key: share });
    assert.ok(await start(), logged());
    assert.equal(await query('select v from shop.a'), value);
    await stop();
  });

  const refused: readonly (readonly [name: string, settings: () => Parameters<typeof configure>, expected: RegExp])[] = [
    ['a kv mount of version 1', () => ['old', rootToken], /Key-value storage must be version number 2 or later/],
    ['no such mount', () => ['none', rootToken], /Hashicorp server error: 400/],
    ['a token that may not', () => ['old'], /Hashicorp server error: 403, response: .*permission denied/],
    ['no such token', () => ['mariadb', 'hvs.none'], /Hashicorp server error: 403, response: .*permission denied/],
  ];
  for (const [name, settings, expected] of refused) {
    test(`it does not start with ${name}`, async () => {
      configure(...settings());
      assert.equal(await start(), false);
      assert.match(logged(), expected);
    });
  }

  test('a core that is gone: who has the keys reads and writes on, who starts is refused', async () => {
    configure('mariadb');
    assert.ok(await start(), logged());
    await query('select v from shop.a');
    await core.close();
    await query('insert into shop.a values ("more"); flush tables shop.a for export');
    assert.equal(await query('select v from shop.a'), `${value}\nmore`);
    await stop();
    assert.equal(await start(), false);
    assert.match(logged(), /Couldn't connect to server/);
  });
});

// Class 8, secrets in the audit log, the log or an error (CVE-2025-62513 and others): every endpoint gets a canary in every field
// that any part of the server reads, in the token and in the headers. The routes of sys/ and the names of the fields are taken
// from the sources, so that a new one cannot be forgotten.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { after, before, test } from 'node:test';
import { pino } from 'pino';
import { loadConfig } from '../../src/server/config.ts';
import { startServer, type RunningServer } from '../../src/server/server.ts';
import { call, temporaryDirectory, type CallOptions } from '../server/running.ts';

const ROOT = join(import.meta.dirname, '../..');
const CANARY = 'canary-7c1e5b';
const ROOT_TOKEN = `root-${CANARY}`;
const directory = temporaryDirectory();
let server: RunningServer;
let logged = '';
/** How much of each audit file an earlier test has looked at. */
const seen = new Map<string, number>();

before(async () => {
  const log = pino({ level: 'debug' }, new Writable({ write: (chunk: Buffer, _encoding, done) => { logged += chunk.toString(); done(); } }));
  server = await startServer(loadConfig({ dev: true, devRootToken: ROOT_TOKEN, listen: '127.0.0.1:0', auditFile: join(directory.path, 'audit', 'audit.log') }), log);
  await root('POST', 'sys/mounts/old', { body: { type: 'kv' } });
  for (const method of ['userpass', 'approle']) await root('POST', `sys/auth/${method}`, { body: { type: method } });
});
after(async () => { await server.close(); directory.remove(); });

const root = (method: string, path: string, options: CallOptions = {}) => call(server.address, method, path, { token: ROOT_TOKEN, ...options });

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, 'src', folder), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts')).map((name) => readFileSync(join(ROOT, 'src', folder, name), 'utf8'));
}

/** Names that are in clear by design (SECURITY.md): they name things, and no secret belongs into them. */
const NAMES = new Set(['display_name', 'meta', 'metadata', 'entity_alias', 'path', 'paths', 'type', 'name', 'from', 'to']);
const fields = [...new Set(['server', 'auth', 'engines'].flatMap(sources).flatMap((text) => [...text.matchAll(/[fF]ield\([\w.]+, '(\w+)'/g)].map(([, name]) => name ?? '')))].filter((name) => !NAMES.has(name));
const sysRoutes = [...new Set(sources('server/sys').flatMap((text) => [...text.matchAll(/path: '([a-z/*-]+)'/g)].map(([, path]) => `sys/${path ?? ''}`)))]
  .filter((path) => path !== 'sys/seal' && path !== 'sys/audit/tail').map((path) => path.replace('*', 'canaryless'));
const others = [
  'sys/init', 'sys/unseal', 'sys/usage', 'secret/data/a', 'secret/metadata/a', 'secret/delete/a', 'secret/undelete/a', 'secret/destroy/a', 'secret/subkeys/a', 'secret/config', 'old/a', 'cubbyhole/a',
  'auth/token/create', 'auth/token/create-orphan', 'auth/token/lookup', 'auth/token/lookup-accessor', 'auth/token/renew', 'auth/token/renew-accessor', 'auth/token/revoke', 'auth/token/revoke-accessor',
  'auth/token/roles/r', 'auth/userpass/users/u', 'auth/userpass/users/u/password', 'auth/userpass/login/u', 'auth/approle/role/r', 'auth/approle/role/r/role-id', 'auth/approle/role/r/secret-id',
  'auth/approle/role/r/custom-secret-id', 'auth/approle/role/r/secret-id/lookup', 'auth/approle/role/r/secret-id/destroy', 'auth/approle/login', 'auth/node/join', 'auth/node/login', 'auth/node/join-token', 'auth/node/role/r',
  'node/resolve', 'node/usage', 'node/swarm-secret', 'node/swarm-tasks', 'node/identity', 'identity/entity', 'identity/entity-alias', 'identity/lookup/entity', 'none/at/all',
];

function holdsCanary(text: string): boolean {
  return text.includes(CANARY) || text.includes(Buffer.from(CANARY).toString('base64').replace(/=+$/, '').slice(0, 12));
}

const bodies: readonly (readonly [string, unknown])[] = [
  ['texts', Object.fromEntries([...fields, 'unknown'].map((name) => [name, CANARY]))],
  ['a secret', { data: { password: CANARY, deep: [{ pin: CANARY }] }, password: CANARY }],
  ['lists and objects', Object.fromEntries(fields.map((name, index) => [name, index % 2 === 0 ? [CANARY, CANARY] : { x: CANARY }]))],
  ['no JSON', `{"password": "${CANARY}`],
  ['an array', [CANARY]],
];

test('the sources name many fields and routes', () => {
  assert.ok(fields.length > 60 && sysRoutes.length > 25, `${fields.length} fields, ${sysRoutes.length} routes`);
});

for (const path of [...sysRoutes, ...others]) {
  test(`${path} leaves no secret in an error, the log or the audit file`, async () => {
    for (const method of ['POST', 'PATCH', 'GET', 'LIST', 'DELETE']) {
      for (const [name, body] of method === 'POST' || method === 'PATCH' ? bodies : bodies.slice(0, 1)) {
        const isRead = method !== 'POST' && method !== 'PATCH';
        const { status, text } = await root(method, isRead && method !== 'LIST' ? `${path}?token=${CANARY}&secret=${CANARY}` : path, isRead ? {} : {
          body, headers: { 'X-Forwarded-For': CANARY, 'Content-Type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json' },
        });
        assert.ok(status !== 500, `${method} with ${name}: 500`);
        if (status >= 400 && !/"data":\{/.test(text)) assert.ok(!holdsCanary(text), `${method} with ${name}: ${text}`);
      }
    }
    const strangers = await call(server.address, 'POST', path, { token: `hvs.${CANARY}`, body: { password: CANARY } });
    assert.ok(!holdsCanary(strangers.text));
    assert.ok(!holdsCanary(logged), `the log: ${logged}`);
    logged = '';
    for (const file of readdirSync(join(directory.path, 'audit'))) {
      const content = readFileSync(join(directory.path, 'audit', file), 'utf8');
      const line = content.slice(seen.get(file) ?? 0).split('\n').find(holdsCanary);
      seen.set(file, content.length);
      assert.equal(line, undefined, 'the audit file');
    }
  });
}

// deploy/examples: what a container of each service would declare is understood by the agent, and every reference parses. The files are
// written plainly enough (two spaces a level, one `key: value` a line) to be read here without a YAML library.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';

import { readDeclarations, type Declarations } from '../src/agent/declarations.ts';
import { parseReference } from '../src/wire/reference.ts';

const EXAMPLES = resolve(import.meta.dirname, '../deploy/examples');
const read = (name: string): string => readFileSync(`${EXAMPLES}/${name}`, 'utf8');

/** `environment` and `labels` of each service, as Docker reads them: quotes undone, `$$` as `$`. */
function services(text: string): Map<string, { environment: [string, string][]; labels: [string, string][] }> {
  const found = new Map<string, { environment: [string, string][]; labels: [string, string][] }>();
  let service: { environment: [string, string][]; labels: [string, string][] } | undefined;
  let section: string | undefined;
  for (const line of text.slice(text.indexOf('\nservices:')).split('\n')) {
    const [, indent = '', key = '', value = ''] = /^( *)([^\s#][^:]*):(?: (.*))?$/.exec(line) ?? [];
    if (key === '') continue;
    if (indent.length === 2) found.set(key, service = { environment: [], labels: [] });
    if (indent.length === 4) section = key;
    if (indent.length === 6 && (section === 'environment' || section === 'labels')) service?.[section].push([key, (value.startsWith('"') ? JSON.parse(value) as string : value).replaceAll('$$', '$')]);
  }
  return found;
}

test('compose.yml: every variable and label of every service is understood', () => {
  const declared = new Map([...services(read('compose.yml'))].map(([name, { environment, labels }]): [string, Declarations] =>
    [name, readDeclarations({ labels: Object.fromEntries(labels), env: environment, uid: 0, gid: 0, mountTargets: [], environment: 'values' })]));
  const files = (name: string): string[] => (declared.get(name)?.files ?? []).map(({ target }) => target).sort();
  assert.deepEqual([...declared.keys()], ['postgres', 'mysql', 'redis', 'app']);
  assert.deepEqual(files('postgres'), ['/run/secrets/POSTGRES_PASSWORD', '/run/secrets/POSTGRES_USER']);
  assert.deepEqual(files('mysql'), ['/run/secrets/MYSQL_PASSWORD', '/run/secrets/MYSQL_ROOT_PASSWORD']);
  assert.deepEqual(declared.get('redis')?.templates.map(({ target }) => target), ['/run/secrets/redis-conf']);
  assert.deepEqual(declared.get('redis')?.onRotate?.action, { type: 'restart' });
  assert.deepEqual(files('app'), ['/run/secrets/SESSION_KEY', '/run/secrets/redis_password']);
  assert.ok(declared.get('app')?.variables.some(({ name }) => name === 'DATABASE_URL'));
  assert.deepEqual(declared.get('app')?.onRotate?.action, { type: 'signal', signal: 'HUP' });
});

test('stack.yml: the secret is the driver\'s, with a reference that parses', () => {
  const secrets = read('stack.yml').split('\nsecrets:')[1] ?? '';
  assert.match(secrets, /\n {4}driver: purser\n/);
  assert.equal(parseReference(/purser\.ref: (\S+)/.exec(secrets)?.[1] ?? '').path, 'secret/shop/postgres');
  assert.match(read('stack.yml'), /purser\.on-rotate: update/);
});

// deploy/examples, as far as no registry allows: Docker takes the files, and what it makes of them are declarations that the agent understands.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { readDeclarations, type Declarations } from '../../src/agent/declarations.ts';
import { parseReference } from '../../src/wire/reference.ts';
import { docker, run } from './command.ts';

const EXAMPLES = resolve(import.meta.dirname, '../../deploy/examples');

interface Service { readonly Spec: { readonly Name: string; readonly Labels: Record<string, string>; readonly TaskTemplate: { readonly ContainerSpec: { readonly Env?: string[]; readonly Labels?: Record<string, string>; readonly Secrets?: { SecretName: string }[] } } } }

describe('deploy/examples', () => {
  before(() => docker('swarm', 'init', '--advertise-addr', '10.213.0.1'));
  after(async () => {
    for (const stack of ['compose', 'stack']) await run('docker', ['stack', 'rm', stack]);
    await docker('swarm', 'leave', '--force');
  });

  /** What Docker makes of a service of a file. */
  async function deployed(stack: string, file: string): Promise<Map<string, Service['Spec']>> {
    await docker('stack', 'deploy', '--resolve-image', 'never', '--compose-file', file, stack);
    const names = (await docker('stack', 'services', '--format', '{{.Name}}', stack)).split('\n');
    const services = JSON.parse(await docker('service', 'inspect', ...names)) as Service[];
    return new Map(services.map(({ Spec }) => [Spec.Name.slice(stack.length + 1), Spec]));
  }

  test('compose.yml: every reference and label is understood', async () => {
    // Stack files of Docker 20.10 have no top-level name and no format without a version.
    writeFileSync('/run/tmp/compose.yml', readFileSync(`${EXAMPLES}/compose.yml`, 'utf8').replace(/^name: .*$/m, 'version: "3.8"'));
    const services = await deployed('compose', '/run/tmp/compose.yml');
    const declared = new Map([...services].map(([name, { TaskTemplate: { ContainerSpec: spec } }]): [string, Declarations] => [name, readDeclarations({
      labels: spec.Labels ?? {}, env: (spec.Env ?? []).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const),
      uid: 0, gid: 0, mountTargets: [], environment: 'values',
    })]));
    const files = (name: string): string[] => (declared.get(name)?.files ?? []).map(({ target }) => target).sort();
    assert.deepEqual(files('postgres'), ['/run/secrets/POSTGRES_PASSWORD', '/run/secrets/POSTGRES_USER']);
    assert.deepEqual(files('mysql'), ['/run/secrets/MYSQL_PASSWORD', '/run/secrets/MYSQL_ROOT_PASSWORD']);
    assert.deepEqual(declared.get('redis')?.templates.map(({ target }) => target), ['/run/secrets/redis-conf']);
    assert.deepEqual(declared.get('redis')?.onRotate?.action, { type: 'restart' });
    assert.deepEqual(files('app'), ['/run/secrets/SESSION_KEY', '/run/secrets/redis_password']);
    assert.deepEqual(declared.get('app')?.variables.map(({ name }) => name), ['DATABASE_URL']);
    assert.deepEqual(declared.get('app')?.onRotate?.action, { type: 'signal', signal: 'HUP' });
  });

  test('stack.yml: the secret is one of the driver, with a reference', async () => {
    // The plugin of this name is not there; what is tested is the file.
    const source = readFileSync(`${EXAMPLES}/stack.yml`, 'utf8').replace('    driver: purser\n', '    file: /etc/hostname\n');
    writeFileSync('/run/tmp/stack.yml', source);
    const services = await deployed('stack', '/run/tmp/stack.yml');
    assert.equal(services.get('app')?.Labels['purser.on-rotate'], 'update');
    const [{ Spec: secret }] = JSON.parse(await docker('secret', 'inspect', 'stack_postgres_password')) as [{ Spec: { Labels: Record<string, string> } }];
    assert.equal(parseReference(secret.Labels['purser.ref'] ?? '').path, 'secret/shop/postgres');
  });
});

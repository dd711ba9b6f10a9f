// Ansible's collection community.hashi_vault as Debian packages it (in `ansible`, over python3-hvac) sets up and uses a new server: ansible_walk.yml.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exportSPKI, generateKeyPair, SignJWT } from 'jose';

import { loadConfig } from '../../src/server/config.ts';
import { startServer } from '../../src/server/server.ts';
import { run } from '../e2e/command.ts';
import { silent, temporaryDirectory } from './running.ts';

const PLAYBOOK = '/usr/bin/ansible-playbook';
const COLLECTION = '/usr/lib/python3/dist-packages/ansible_collections/community/hashi_vault';
const isInstalled = existsSync(PLAYBOOK) && existsSync(COLLECTION);

test('Ansible’s community.hashi_vault works unchanged', { skip: !isInstalled && 'Debian’s ansible is not installed', timeout: 180_000 }, async () => {
  const directory = temporaryDirectory();
  const server = await startServer(loadConfig({ dataDir: join(directory.path, 'data'), listen: '127.0.0.1:0' }), silent);
  try {
    const { publicKey, privateKey } = await generateKeyPair('EdDSA');
    const jwt = await new SignJWT().setProtectedHeader({ alg: 'EdDSA' }).setSubject('ci').setAudience('purser').setIssuedAt().setExpirationTime('10m').sign(privateKey);
    const variables = { ansible_hashi_vault_url: server.address, ansible_hashi_vault_ca_cert: join(directory.path, 'data', 'tls', 'ca.pem'), public_key: await exportSPKI(publicKey), jwt };
    // All that Ansible writes of its own goes below the temporary directory; nothing of the caller's settings reaches it.
    const env = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', HOME: directory.path, ANSIBLE_HOME: join(directory.path, 'ansible'), ANSIBLE_PYTHON_INTERPRETER: '/usr/bin/python3', ANSIBLE_PIPELINING: 'true', PYTHONDONTWRITEBYTECODE: '1' };
    const { status, stdout, stderr } = await run(PLAYBOOK, ['--inventory', 'localhost,', '--extra-vars', JSON.stringify(variables), join(import.meta.dirname, 'ansible_walk.yml')], { cwd: directory.path, env, timeoutMs: 170_000 });
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /"msg": "walked"/);
  } finally {
    await server.close();
    directory.remove();
  }
});

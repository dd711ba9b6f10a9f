// hvac, Vault's client for Python as Debian packages it, walks a new server through all that it has for what Purser covers (hvac_walk.py).

import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

import { loadConfig } from '../../src/server/config.ts';
import { startServer } from '../../src/server/server.ts';
import { silent, temporaryDirectory } from './running.ts';

const PYTHON = '/usr/bin/python3'; // Debian's own, which sees Debian's modules
const hasHvac = spawnSync(PYTHON, ['-c', 'import hvac']).status === 0;

test('hvac works unchanged', { skip: !hasHvac && 'python3-hvac is not installed', timeout: 120_000 }, async () => {
  const directory = temporaryDirectory();
  const server = await startServer(loadConfig({ dataDir: join(directory.path, 'data'), listen: '127.0.0.1:0', http: true }), silent);
  try {
    const { error, out } = await new Promise<{ error: Error | null; out: string }>((resolve) => {
      execFile(PYTHON, ['-B', join(import.meta.dirname, 'hvac_walk.py'), server.address], { timeout: 110_000 }, (failure, stdout, stderr) => { resolve({ error: failure, out: stdout + stderr }); });
    });
    assert.equal(error, null, out);
    assert.match(out, /\ndone\n$/);
  } finally {
    await server.close();
    directory.remove();
  }
});

// Clients of Vault in Python, as Debian packages them, each walk a new server through all that they have for what Purser covers (*_walk.py).

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, test } from 'node:test';

import { loadConfig } from '../../src/server/config.ts';
import { startServer } from '../../src/server/server.ts';
import { run } from '../e2e/command.ts';
import { silent, temporaryDirectory } from './running.ts';

const PYTHON = '/usr/bin/python3'; // Debian's own, which sees Debian's modules
const isInstalled = (name: string): boolean => spawnSync(PYTHON, ['-c', `import ${name}`]).status === 0;

describe('clients in Python', () => {
  for (const name of ['hvac', 'castellan']) {
    test(`${name} works unchanged`, { skip: !isInstalled(name) && `python3-${name} is not installed`, timeout: 120_000 }, async () => {
      const directory = temporaryDirectory();
      const server = await startServer(loadConfig({ dataDir: join(directory.path, 'data'), listen: '127.0.0.1:0' }), silent);
      try {
        const { status, stdout, stderr } = await run(PYTHON, ['-B', join(import.meta.dirname, `${name}_walk.py`), server.address, join(directory.path, 'data', 'tls', 'ca.pem')], { timeoutMs: 110_000 });
        assert.equal(status, 0, stdout + stderr);
        assert.match(stdout, /(^|\n)done\n/);
      } finally {
        await server.close();
        directory.remove();
      }
    });
  }
});

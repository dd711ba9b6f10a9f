// Runs the measurements named on the command line (default: all) on one installation in the sandbox; called by scripts/bench.sh.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { CoreClient } from '../../src/client/core-client.ts';
import { must } from '../e2e/command.ts';
import { ADDRESS, Installation } from '../e2e/installation.ts';
import { benchAgentMemory } from './agent-memory.ts';
import { benchContainerStart } from './container-start.ts';
import { benchCore } from './core-throughput.ts';
import { benchDriver } from './driver.ts';
import { benchEnvironment } from './environment.ts';
import { benchFileReads } from './file-reads.ts';
import { benchLedger } from './ledger.ts';
import { benchLedgerReads } from './ledger-reads.ts';
import { benchPage } from './page.ts';
import { benchPolicyCheck } from './policy-check.ts';
import { benchRotation } from './rotation.ts';
import { benchScale } from './scale.ts';

const wanted = new Set(process.argv.length > 2 ? process.argv.slice(2) : ['start', 'env', 'rotation', 'files', 'reads', 'memory', 'page', 'core', 'driver', 'policy', 'ledger', 'scale']);
if (wanted.delete('policy')) benchPolicyCheck();
if (wanted.delete('ledger')) await benchLedger();
if (wanted.delete('scale')) await benchScale();
if (wanted.size === 0) process.exit();
const purser = await Installation.start({ driver: wanted.has('driver') });
try {
  const token = readFileSync(join(purser.dataDirectory, 'root-token'), 'utf8').trim();
  const client = new CoreClient({ address: ADDRESS, certificateAuthority: readFileSync(purser.caCertificate, 'utf8'), token });
  await client.write('secret/data/db/five', { data: Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((field) => [field, field.repeat(64)])) });
  if (wanted.has('start')) await benchContainerStart();
  if (wanted.has('env')) await benchEnvironment(client);
  if (wanted.has('files')) await benchFileReads(client);
  if (wanted.has('reads')) await benchLedgerReads(purser, client);
  if (wanted.has('rotation')) await benchRotation(client, 100);
  if (wanted.has('memory')) await benchAgentMemory(purser.pid('agent'), 200);
  if (wanted.has('page')) await benchPage(client, token, 200);
  if (wanted.has('core')) {
    await must('taskset', ['-a', '-p', '-c', '0', String(purser.pid('core'))]);
    await benchCore({ address: ADDRESS, token, identity: join(purser.dataDirectory, 'tls', 'server.pem') });
  }
  if (wanted.has('driver')) await benchDriver(purser);
  client.close();
} finally {
  await purser.stop();
}

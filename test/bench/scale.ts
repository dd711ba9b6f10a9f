// One core with much in it and many listening: how long it takes to start with 100,000 secrets and what memory it has then; what 10,000 open watch streams
// cost, and how long one change takes to reach all of them. Over plain HTTP on loopback; the client shares the machine.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { Agent, request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { SignJWT } from 'jose';

import { CoreClient } from '../../src/client/core-client.ts';
import { LOGIN_SECONDS, loginAudience } from '../../src/wire/node-login.ts';
import { eventually } from '../e2e/command.ts';
import { PURSER } from '../e2e/installation.ts';
import { inParallel } from './engine.ts';
import { printTable } from './table.ts';

const ADDRESS = 'http://127.0.0.1:8295';
const SECRETS = 100_000;
const STREAMS = 10_000;
/** As many as the core lets a node have. */
const PER_NODE = 4;
/** Nodes that join with one token. */
const USES = 500;
const PARALLEL = 32;
const ROUNDS = 5;

/** Prints the table. */
export async function benchScale(): Promise<void> {
  const folder = mkdtempSync('/run/tmp/bench-scale-');
  let core = await startCore(folder);
  try {
    const token = readFileSync(join(folder, 'data', 'root-token'), 'utf8').trim();
    const client = new CoreClient({ address: ADDRESS, token });
    await inParallel(Array.from({ length: SECRETS }, (_, index) => index), PARALLEL, async (index) => {
      await client.write(`secret/data/scale/${String(index % 100)}/${String(index)}`, { data: { password: `value-${String(index)}` } });
    });
    await stop(core.process);
    core = await startCore(folder);
    const memory = residentMiB(core.process);
    await client.read('secret/data/scale/7/7');
    const streams = await openStreams(client);
    const withStreams = residentMiB(core.process);
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const told = streams.nextChange();
      const began = performance.now();
      await client.write('secret/data/scale/watched', { data: { password: `round-${String(round)}` } });
      await told;
      times.push(performance.now() - began);
    }
    streams.close();
    client.close();
    const sorted = times.toSorted((a, b) => a - b);
    printTable('One core with much in it', ['', 'measured'], [
      [`start with ${SECRETS.toLocaleString('en')} secrets, until it answers unsealed, s`, core.seconds],
      ['resident memory then, MiB', memory],
      [`memory for each of ${STREAMS.toLocaleString('en')} watch streams, KiB`, (withStreams - memory) * 1024 / STREAMS],
      ['from sending a write until all streams told of it: median of 5, ms', sorted[2] ?? Number.NaN],
      ['the slowest of the 5, ms', sorted.at(-1) ?? Number.NaN],
    ]);
  } finally {
    await stop(core.process);
    rmSync(folder, { recursive: true });
  }
}

async function startCore(folder: string): Promise<{ readonly process: ChildProcess; readonly seconds: number }> {
  const began = performance.now();
  const child = spawn(PURSER, ['server', '--http', '--listen', new URL(ADDRESS).host, '--data-dir', join(folder, 'data'), '--auto-unseal-key-file', join(folder, 'key'), '--init-if-needed'], { stdio: 'ignore' });
  await eventually('the core', async () => (await fetch(`${ADDRESS}/v1/sys/health`)).ok && existsSync(join(folder, 'data', 'root-token')), 60_000);
  return { process: child, seconds: (performance.now() - began) / 1000 };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

function residentMiB({ pid }: ChildProcess): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8'))?.[1]) / 1024;
}

interface Streams { /** Resolves when every stream has told of one more change. */ nextChange(): Promise<void>; close(): void }

/** Joins nodes, lets each hold the watched secret, and opens their streams. */
async function openStreams(client: CoreClient): Promise<Streams> {
  const nodes = STREAMS / PER_NODE;
  await client.write('secret/data/scale/watched', { data: { password: 'start' } });
  await client.write('sys/policies/acl/scale', { policy: 'path "secret/data/scale/*" { capabilities = ["read"] }' });
  await client.write('auth/node/role/scale', { policies: ['scale'], any: true });
  const invitations = await Promise.all(Array.from({ length: Math.ceil(nodes / USES) }, () => invite(client)));
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  const open: IncomingMessage[] = [];
  let waiting = 0;
  let done = (): void => undefined;
  await inParallel(Array.from({ length: nodes }, (_, index) => index), PARALLEL, async (index) => {
    const { id, secret } = invitations[Math.floor(index / USES)]!;
    const token = await joinAndLogIn(client, id, secret, `scale-${String(index)}`);
    const node = new CoreClient({ address: ADDRESS, token });
    await node.write('node/resolve', { workloads: [{ id: index.toString(16).padStart(64, '0'), name: `c${String(index)}`, image: 'x', labels: {}, references: ['purser://secret/scale/watched#password'] }] });
    node.close();
    for (let count = 0; count < PER_NODE; count++) open.push(await openStream(agent, token, () => { if (--waiting === 0) done(); }));
  });
  return {
    nextChange: () => new Promise((resolve) => { waiting = open.length; done = resolve; }),
    close: () => { for (const stream of open) stream.destroy(); agent.destroy(); },
  };
}

/** What is in a join token (PROTOCOL.md 1.1). */
async function invite(client: CoreClient): Promise<{ readonly id: string; readonly secret: string }> {
  const { token } = await client.write('auth/node/join-token', { num_uses: USES, ttl: '1h' }) as { token: string };
  return JSON.parse(Buffer.from(token.replace('purser-join-1.', ''), 'base64url').toString()) as { id: string; secret: string };
}

/** As `purser agent join` and the agent do (PROTOCOL.md 1.1); returns the node's token. */
async function joinAndLogIn(client: CoreClient, id: string, secret: string, name: string): Promise<string> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const { kty, crv, x } = publicKey.export({ format: 'jwk' });
  const { node_id: node, cluster_id: cluster } = await client.write('auth/node/join', { id, secret, name, public_key: { kty, crv, x }, version: '0' }) as { node_id: string; cluster_id: string };
  const now = Math.floor(Date.now() / 1000);
  const jwt = await new SignJWT({ iss: node, sub: node, aud: loginAudience(cluster), iat: now, exp: now + LOGIN_SECONDS - 5, jti: randomUUID() }).setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' }).sign(privateKey);
  return (await client.authenticate('auth/node/login', { jwt }) as { client_token: string }).client_token;
}

/** Resolves with the first frame. @param onChange told of every `changed` frame */
function openStream(agent: Agent, token: string, onChange: () => void): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request(`${ADDRESS}/v1/node/watch`, { agent, headers: { 'X-Vault-Token': token } }, (response) => {
      if (response.statusCode !== 200) { reject(new Error(`a watch stream was answered with ${String(response.statusCode)}`)); return; }
      response.on('error', () => undefined);
      response.on('data', (chunk: Buffer) => {
        if (chunk.includes('"hello"')) resolve(response);
        if (chunk.includes('"changed"')) onChange();
      });
    }).on('error', reject).end();
  });
}

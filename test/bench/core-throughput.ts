// KV reads and writes per second of one core, over TLS and over plain HTTP: the server on one CPU, wrk on the other, kept-alive
// connections, the audit file on; beside each a bare node:https or node:http server that answers the same bytes. All take turns,
// several times, so that a slow moment of the machine hits all of them.

import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { CoreClient } from '../../src/client/core-client.ts';
import { eventually, must } from '../e2e/command.ts';
import { PURSER } from '../e2e/installation.ts';
import { median, printTable } from './table.ts';

const ROUNDS = 5;
const SECONDS = 3;
const CONNECTIONS = 32;
const PLAIN = 'http://127.0.0.1:8298';
const BARE_PLAIN = 8297;
const BARE_TLS = 8296;
const SECRET = { data: Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((field) => [field, field.repeat(64)])) };

const BARE = `const { readFileSync } = require('node:fs');
const body = { request_id: 'x'.repeat(36), lease_id: '', renewable: false, lease_duration: 0, data: { ...${JSON.stringify(SECRET)}, metadata: { created_time: new Date().toISOString(), custom_metadata: null, deletion_time: '', destroyed: false, version: 1 } }, wrap_info: null, warnings: null, auth: null };
const answer = (request, response) => { const text = JSON.stringify(body) + '\\n'; response.writeHead(200, { 'Cache-Control': 'no-store', 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }); response.end(text); };
require('node:http').createServer(answer).listen(${BARE_PLAIN}, '127.0.0.1');
require('node:https').createServer({ cert: readFileSync(process.argv[1]), key: readFileSync(process.argv[1]) }, answer).listen(${BARE_TLS}, '127.0.0.1');`;

/** A core over TLS that runs on CPU 0 and holds `secret/db/five`. */
export interface BenchedCore {
  readonly address: string;
  readonly token: string;
  /** File with its certificate and key, which the bare server uses too. */
  readonly identity: string;
}

/** Prints the table; starts and ends the core over plain HTTP and the bare servers. */
export async function benchCore(core: BenchedCore): Promise<void> {
  const folder = mkdtempSync('/run/tmp/bench-core-');
  const others = [
    onFirstCpu(PURSER, ['server', '--http', '--listen', new URL(PLAIN).host, '--data-dir', join(folder, 'data'), '--auto-unseal-key-file', join(folder, 'key'), '--init-if-needed']),
    onFirstCpu(process.execPath, ['-e', BARE, core.identity]),
  ];
  try {
    const plain = { address: PLAIN, token: await rootToken(folder) };
    await eventually('the bare server', async () => (await fetch(`http://127.0.0.1:${String(BARE_PLAIN)}/`)).ok);
    const loads = [
      ['bare node:https', `https://127.0.0.1:${String(BARE_TLS)}/`],
      ['KV read, TLS', secretOf(core), readScript(folder, 'tls', core.token)],
      ['KV write, TLS', secretOf(core), writeScript(folder, 'tls', core.token)],
      ['bare node:http', `http://127.0.0.1:${String(BARE_PLAIN)}/`],
      ['KV read, plain HTTP on loopback', secretOf(plain), readScript(folder, 'plain', plain.token)],
      ['KV write, plain HTTP on loopback', secretOf(plain), writeScript(folder, 'plain', plain.token)],
    ] as const;
    const samples = loads.map((): number[][] => []);
    for (let round = 0; round < ROUNDS; round++) for (const [index, [, url, script]] of loads.entries()) samples[index]?.push(await load(url, script));
    printTable(`Core on one CPU, ${String(CONNECTIONS)} kept-alive connections, one audit file (medians of ${String(ROUNDS)} turns of ${String(SECONDS)} s)`, ['', 'requests/s', 'p50 ms', 'p99 ms', 'errors'],
      loads.map(([name], index) => [name, ...[0, 1, 2, 3].map((column) => median(samples[index]?.map((sample) => sample[column] ?? Number.NaN) ?? []))]));
  } finally {
    for (const other of others) other.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  }
}

function onFirstCpu(program: string, args: readonly string[]): ChildProcess {
  return spawn('taskset', ['-c', '0', program, ...args], { stdio: 'ignore' });
}

/** Waits for the core over plain HTTP and fills it. */
async function rootToken(folder: string): Promise<string> {
  return eventually('the core over plain HTTP', async () => {
    const token = readFileSync(join(folder, 'data', 'root-token'), 'utf8').trim();
    const client = new CoreClient({ address: PLAIN, token });
    await client.write('secret/data/db/five', SECRET);
    client.close();
    return token;
  }, 20_000);
}

const secretOf = ({ address }: { readonly address: string }): string => `${address}/v1/secret/data/db/five`;

function readScript(folder: string, name: string, token: string): string {
  return script(folder, `${name}-read`, `wrk.headers["X-Vault-Token"] = "${token}"\n`);
}

/** Writes to 500 secrets, so that writes of one do not wait for each other and versions are dropped as in life. */
function writeScript(folder: string, name: string, token: string): string {
  return script(folder, `${name}-write`, `wrk.method = "POST"\nwrk.headers["X-Vault-Token"] = "${token}"\nwrk.headers["Content-Type"] = "application/json"\nlocal n = 0\nrequest = function()\n  n = n + 1\n  return wrk.format(nil, "/v1/secret/data/bench/" .. (n % 500), nil, '{"data":{"password":"' .. string.rep("x", 64) .. '"}}')\nend\n`);
}

function script(folder: string, name: string, text: string): string {
  const path = join(folder, `${name}.lua`);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

/** Requests per second, the two percentiles in milliseconds, and answers that were no success. */
async function load(url: string, script: string | undefined): Promise<number[]> {
  const output = await must('taskset', ['-c', '1', 'wrk', '-t1', `-c${String(CONNECTIONS)}`, `-d${String(SECONDS)}s`, '--latency', ...(script === undefined ? [] : ['-s', script]), url]);
  return [
    Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1]), percentileOf(output, '50%'), percentileOf(output, '99%'),
    Number(/Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1] ?? 0),
  ];
}

const UNITS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000 };

function percentileOf(output: string, name: string): number {
  const match = new RegExp(`^\\s+${name}\\s+([\\d.]+)(us|ms|s)$`, 'm').exec(output);
  return Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN);
}

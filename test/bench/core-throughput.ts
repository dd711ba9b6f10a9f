// KV reads and writes per second of one core: the server on one CPU, wrk on the other, over kept-alive connections, with the
// audit file on; beside it a bare node:http server that answers the same bytes, measured in the same minute.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { eventually, must } from '../e2e/command.ts';
import { printTable } from './table.ts';

const SECONDS = 8;
const CONNECTIONS = 32;

const BARE = `require('node:http').createServer((q, s) => { s.setHeader('Content-Type', 'application/json'); s.end(JSON.stringify({request_id:'x'.repeat(36),lease_id:'',renewable:false,lease_duration:0,data:{data:{password:'x'.repeat(64)},metadata:{version:1}},wrap_info:null,warnings:null,auth:null})); }).listen(8299, '127.0.0.1')`;

/** Prints the table; `address` is the core's, reached with `token`. */
export async function benchCore(address: string, token: string): Promise<void> {
  const folder = mkdtempSync('/run/tmp/bench-core-');
  const read = join(folder, 'read.lua');
  const write = join(folder, 'write.lua');
  writeFileSync(read, `wrk.headers["X-Vault-Token"] = "${token}"\n`, { mode: 0o600 });
  writeFileSync(write, `wrk.method = "POST"\nwrk.headers["X-Vault-Token"] = "${token}"\nwrk.headers["Content-Type"] = "application/json"\nlocal n = 0\nlocal prefix = tostring(math.random(1000000000)) .. tostring({})\nrequest = function()\n  n = n + 1\n  return wrk.format(nil, "/v1/secret/data/bench/" .. string.sub(prefix, -6) .. "-" .. (n % 500), nil, '{"data":{"password":"' .. string.rep("x", 64) .. '"}}')\nend\n`, { mode: 0o600 });
  const bare = spawn('taskset', ['-c', '0', process.execPath, '-e', BARE], { stdio: 'ignore' });
  try {
    await eventually('the bare server', async () => (await fetch('http://127.0.0.1:8299/')).ok);
    const rows: (string | number)[][] = [];
    for (const [name, url, script] of [
      ['bare node:http', 'http://127.0.0.1:8299/', undefined],
      ['KV read', `${address}/v1/secret/data/db/five`, read],
      ['KV write', `${address}/v1/secret/data/db/five`, write],
      ['bare node:http, again', 'http://127.0.0.1:8299/', undefined],
    ] as const) rows.push([name, ...await load(url, script)]);
    printTable(`Core on one CPU, ${String(CONNECTIONS)} kept-alive connections, one audit file, ${String(SECONDS)} s each`, ['', 'requests/s', 'p50 ms', 'p99 ms', 'errors'], rows);
  } finally {
    bare.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  }
}

async function load(url: string, script: string | undefined): Promise<(string | number)[]> {
  const output = await must('taskset', ['-c', '1', 'wrk', '-t1', `-c${String(CONNECTIONS)}`, `-d${String(SECONDS)}s`, '--latency', ...(script === undefined ? [] : ['-s', script]), url]);
  const value = (pattern: RegExp): string => pattern.exec(output)?.[1] ?? '0';
  return [Number(value(/Requests\/sec:\s+([\d.]+)/)), value(/50%\s+(\S+)/), value(/99%\s+(\S+)/), value(/Non-2xx or 3xx responses: (\d+)/)];
}

// What a Swarm manager waits for after a leader change: GetSecret for every running task, one after the other per node, against the
// plugin socket of a driver that has just started, of one that has seen the services, and of one whose core has died.

import { Agent, request } from 'node:http';

import { eventually } from '../e2e/command.ts';
import type { Installation } from '../e2e/installation.ts';
import { PLUGIN_SOCKET } from '../../src/wire/plugin.ts';
import { percentile, printTable } from './table.ts';

const TASKS = 1000;
const SERVICES = 10;
const NODES = 3;

/** Prints the table. The installation has a driver, and loses its core for the last row. */
export async function benchDriver(purser: Installation): Promise<void> {
  await purser.put('secret/db/prod', { password: 'x'.repeat(64) });
  const rows = [];
  await purser.end('driver', 'SIGTERM');
  await purser.startDriver();
  rows.push(await measure('driver just started', 0));
  rows.push(await measure('the same tasks again', 0));
  rows.push(await measure('other tasks of the same services', TASKS));
  await purser.end('core', 'SIGKILL');
  await new Promise((resolve) => { setTimeout(resolve, 3500); });
  rows.push(await measure('the core is dead', 0));
  await purser.startCore();
  await eventually('the driver to hear the core', async () => (await getSecret(0)).length === 0, 20_000);
  printTable(`${TASKS.toLocaleString('en')} GetSecret calls for ${String(SERVICES)} services on ${String(NODES)} nodes, milliseconds`,
    ['', 'in all', 'p50', 'p99', 'longest', 'answered', 'refused'], rows);
}

async function measure(name: string, firstTask: number): Promise<(string | number)[]> {
  const times: number[] = [];
  let refused = 0;
  const began = performance.now();
  await Promise.all(Array.from({ length: NODES }, async (_, node) => {
    for (let task = node; task < TASKS; task += NODES) {
      const start = performance.now();
      if ((await getSecret(firstTask + task)).length > 0) refused++;
      times.push(performance.now() - start);
    }
  }));
  return [name, performance.now() - began, percentile(times, 0.5), percentile(times, 0.99), Math.max(...times), TASKS - refused, refused];
}

const agent = new Agent({ keepAlive: true });

/** The error of the answer, empty for a value. */
function getSecret(task: number): Promise<string> {
  const service = String(task % SERVICES);
  const body = JSON.stringify({
    SecretName: 'shop_db', SecretLabels: { 'purser.ref': 'purser://secret/db/prod#password' }, ServiceID: `svc${service}`, ServiceName: `shop_${service}`,
    ServiceLabels: { 'com.docker.stack.namespace': 'shop' }, TaskID: `bench${String(task)}`, TaskName: `shop_${service}.${String(task)}`, TaskImage: 'busybox:latest', NodeID: `benchnode${String(task % NODES)}`,
  });
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: PLUGIN_SOCKET, path: '/SecretProvider.GetSecret', method: 'POST', agent, headers: { 'Content-Length': Buffer.byteLength(body) } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; }).on('end', () => { resolve((JSON.parse(text) as { Err?: string }).Err ?? ''); }).on('error', reject);
    });
    call.on('error', reject).end(body);
  });
}

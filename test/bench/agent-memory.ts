// Resident memory of the agent with many containers of five secrets each.

import { readFileSync } from 'node:fs';

import { createContainer, inParallel, removeContainer, startContainer } from './engine.ts';
import { printTable } from './table.ts';

const REFERENCES = Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((field) => [`purser.file.${field}`, `purser://secret/db/five#${field}`]));

/** Prints the agent's and the holder's memory before and with `count` containers. */
export async function benchAgentMemory(agentPid: number, count: number): Promise<void> {
  const before = memory(agentPid);
  const ids: string[] = [];
  await inParallel(Array.from({ length: count }), 4, async () => {
    const id = await createContainer({ runtime: 'purser', command: ['sleep', '3600'], labels: REFERENCES });
    ids.push(id);
    await startContainer(id);
  });
  const after = memory(agentPid);
  printTable('Memory of the agent, MB', ['', 'resident', 'peak'], [
    ['before', before.resident, before.peak],
    [`with ${String(count)} containers of 5 secrets`, after.resident, after.peak],
  ]);
  await inParallel(ids, 4, removeContainer);
}

function memory(pid: number): { resident: number; peak: number } {
  const status = readFileSync(`/proc/${String(pid)}/status`, 'utf8');
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
  return { resident: field('VmRSS'), peak: field('VmHWM') };
}

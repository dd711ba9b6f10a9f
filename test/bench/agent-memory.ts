// Memory of the agent with many containers of five secrets each: the agent itself, the child that makes its inotify events, and
// the holder. Values live in the holder's memfds, so they show there and not on the agent's heap.

import { readdirSync, readFileSync } from 'node:fs';

import { createContainer, inParallel, removeContainer, startContainer } from './engine.ts';
import { printTable } from './table.ts';

const REFERENCES = Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((field) => [`purser.file.${field}`, `purser://secret/db/five#${field}`]));

/** Prints the memory before and with `count` containers. */
export async function benchAgentMemory(agentPid: number, count: number): Promise<void> {
  const rows = [rowOf('before', agentPid)];
  const ids: string[] = [];
  await inParallel(Array.from({ length: count }), 4, async () => {
    const id = await createContainer({ runtime: 'purser', command: ['sleep', '3600'], labels: REFERENCES });
    ids.push(id);
    await startContainer(id);
  });
  rows.push(rowOf(`with ${String(count)} containers of 5 secrets`, agentPid));
  printTable('Memory, MB', ['', 'agent, resident', 'agent, peak', 'its child, proportional', 'holder, proportional'], rows);
  await inParallel(ids, 4, removeContainer);
}

function rowOf(name: string, agentPid: number): (string | number)[] {
  const child = processes().find(({ parent }) => parent === agentPid)?.pid;
  const holder = processes().find(({ command }) => command === 'purser-holder')?.pid;
  return [name, field(agentPid, 'status', 'VmRSS'), field(agentPid, 'status', 'VmHWM'), field(child, 'smaps_rollup', 'Pss'), field(holder, 'smaps_rollup', 'Pss')];
}

function processes(): { pid: number; parent: number; command: string }[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const status = readFileSync(`/proc/${name}/status`, 'utf8');
      return [{ pid: Number(name), parent: Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]), command: /^Name:\s+(.*)/m.exec(status)?.[1] ?? '' }];
    } catch {
      return [];
    }
  });
}

/** A field in kB of a file in /proc, in MB; 0 for a process that is not there. */
function field(pid: number | undefined, file: string, name: string): number {
  if (pid === undefined) return 0;
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${String(pid)}/${file}`, 'utf8'))?.[1]) / 1024;
}

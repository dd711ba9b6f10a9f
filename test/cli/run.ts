// The command line in this process, against the core of the environment: what it printed and how it ended.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { Programs } from '../../src/cli/context.ts';
import { createOutput } from '../../src/cli/output.ts';
import { runCli } from '../../src/cli/program.ts';

export interface Ran { readonly status: number; readonly out: string; readonly err: string }

/** Runs `purser <args>`. */
export async function run(...args: readonly string[]): Promise<Ran> {
  const texts = { out: '', err: '' };
  const sink = (name: 'out' | 'err'): NodeJS.WritableStream => ({ write: (chunk: string) => { texts[name] += chunk; return true; } }) as unknown as NodeJS.WritableStream;
  const status = await runCli(args, {} as Programs, createOutput(sink('out'), sink('err')));
  return { status, ...texts };
}

/** Sets the variables and an empty home for every run until the result is called. */
export function withEnvironment(variables: Readonly<Record<string, string>>): () => void {
  const saved = { ...process.env };
  const home = mkdtempSync(join(tmpdir(), 'purser-cli-'));
  Object.assign(process.env, { HOME: home, ...variables });
  return () => {
    process.env = saved;
    rmSync(home, { recursive: true, force: true });
  };
}

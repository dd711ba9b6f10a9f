// Runs programs for the tests. A failing command's output is part of the failure.

import { execFile } from 'node:child_process';

export { eventually } from '../eventually.ts';

export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever its exit code. `input` goes to its standard input. */
export function run(program: string, args: readonly string[], options: { readonly input?: string; readonly env?: NodeJS.ProcessEnv; readonly cwd?: string; readonly timeoutMs?: number } = {}): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, [...args], { env: options.env ?? process.env, cwd: options.cwd, maxBuffer: 64 << 20, timeout: options.timeoutMs ?? 180_000, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== 'number') reject(new Error(`${program} ${args.join(' ')}: ${error.message}\n${stderr}`));
      else resolve({ status: error === null ? 0 : error.code as number, stdout, stderr });
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(options.input ?? '');
  });
}

/** Runs a program that must succeed; gives its stdout without the last line break. */
export async function must(program: string, args: readonly string[], options: Parameters<typeof run>[2] = {}): Promise<string> {
  const result = await run(program, args, options);
  if (result.status !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${String(result.status)}\n${result.stdout}${result.stderr}`);
  return result.stdout.replace(/\n$/, '');
}

/** `docker …`, which must succeed. */
export const docker = (...args: string[]): Promise<string> => must('docker', args);

// How the agent gets the FUSE connection: Node cannot receive descriptors over a socket, so `purser-runtime purser-agent`
// asks the holder for them (starting one if needed) and becomes the agent again, with the descriptors inherited. With
// process.execve there is one process throughout; without it this process waits, passing signals and the exit code on.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';
import { PurserError, messageOf } from '../lib/errors.ts';
import { runtimeProgramBeside } from '../lib/runtime-program.ts';

const VARIABLE = 'PURSER_AGENT_FDS';
const PROGRAM = 'purser-runtime';
const PASSED_ON = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

export interface InheritedDescriptors {
  readonly fuseFd: number;
  readonly stateFds: readonly [number, number];
}

/**
 * The descriptors this process was started with; undefined when it was not started by the launcher.
 * @throws ERR_CONFIG_INVALID for a value that the launcher does not write
 */
export function inheritedDescriptors(environment: NodeJS.ProcessEnv = process.env): InheritedDescriptors | undefined {
  const text = environment[VARIABLE];
  // Children must not take the descriptors for theirs.
  delete environment[VARIABLE];
  if (text === undefined) return undefined;
  const match = /^(\d{1,4}),(\d{1,4}),(\d{1,4})$/.exec(text);
  if (match === null) throw new PurserError('ERR_CONFIG_INVALID', `${VARIABLE} is not a list of three descriptors`, { hint: `unset ${VARIABLE}; it is for ${PROGRAM} alone` });
  return { fuseFd: Number(match[1]), stateFds: [Number(match[2]), Number(match[3])] };
}

/**
 * Starts this very command line again with the descriptors.
 * @returns the exit code of the agent, when this process had to wait for it
 * @throws ERR_FUSE_UNAVAILABLE when purser-runtime cannot be run
 */
export async function launch(runDirectory: string): Promise<number> {
  const program = runtimeProgram();
  const own = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const { execve } = process as { execve?: (file: string, argv: readonly string[], environment: NodeJS.ProcessEnv) => never };
  if (execve !== undefined) return execve.call(process, program, [program, 'purser-agent', '--run-dir', runDirectory, '--', ...own], process.env);
  return spawnAndWait(program, ['purser-agent', '--run-dir', runDirectory, '--parent-death', 'TERM', '--', ...own]);
}

function spawnAndWait(program: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit' });
    const passOn = (signal: NodeJS.Signals) => { child.kill(signal); };
    for (const signal of PASSED_ON) process.on(signal, passOn);
    const settle = (end: () => void) => {
      for (const signal of PASSED_ON) process.off(signal, passOn);
      end();
    };
    child.once('error', (error) => settle(() => reject(notRun(program, error))));
    // As a shell reports a process that a signal ended.
    child.once('exit', (code, signal) => settle(() => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))));
  });
}

/**
 * Where purser-runtime is: beside the command itself, then in PATH.
 * @throws ERR_FUSE_UNAVAILABLE when it is nowhere
 */
export function runtimeProgram(): string {
  const inPath = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder.startsWith('/')).map((folder) => join(folder, PROGRAM));
  const found = [runtimeProgramBeside(), ...inPath].find((path) => existsSync(path));
  if (found === undefined) throw notRun(PROGRAM, new Error('it is neither beside this command nor in PATH'));
  return found;
}

function notRun(program: string, error: unknown): PurserError {
  return new PurserError('ERR_FUSE_UNAVAILABLE', `${program} cannot be run: ${messageOf(error)}`, { hint: 'npm run build makes it; keep it beside the purser command', cause: error });
}

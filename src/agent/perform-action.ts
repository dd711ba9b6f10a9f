// One try of what `purser.on-rotate` asks for: a signal to the container's init process, a command in it, or a restart. Ends in bounded time;
// tells how it ended and never what a command printed.

import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, isPurserError } from '../lib/errors.ts';
import type { ContainerRecord } from './container-record.ts';
import { initProcess, signalProcess } from './container-process.ts';
import type { DockerEngine } from './docker.ts';
import { signalNumber } from './on-rotate.ts';
import type { RotateAction } from './on-rotate.ts';

/** `gone`: the container does not run, and sees the current values when it starts. */
export type Performed =
  | { readonly outcome: 'gone' }
  | { readonly outcome: 'done' | 'failed'; readonly exitCode?: number; readonly message?: string };

export type ActionEngine = Pick<DockerEngine, 'startExec' | 'execState' | 'restart' | 'info'>;

const EXEC_LIMIT_MS = 60_000;
const MAX_POLL_MS = 250;
const SIGKILL = 9;
const MAX_MESSAGE = 512;

/** @param stop ends the waiting for a command, which runs on */
export async function performAction(docker: ActionEngine, record: ContainerRecord, action: RotateAction, stop: AbortSignal): Promise<Performed> {
  const { id } = record.workload;
  try {
    const dockerRoot = record.dockerRoot ?? (await docker.info()).dockerRoot;
    const pid = dockerRoot === undefined ? undefined : await initProcess(dockerRoot, id);
    if (pid === undefined) return { outcome: 'gone' };
    switch (action.type) {
      case 'signal': return { outcome: await signalProcess(pid, id, signalNumber(action.signal) ?? 0) ? 'done' : 'gone' };
      case 'exec': return await runCommand(docker, id, action.command, stop);
      case 'restart':
        await docker.restart(id);
        return { outcome: 'done' };
    }
  } catch (error) {
    return { outcome: 'failed', message: reasonOf(error, action) };
  }
}

async function runCommand(docker: ActionEngine, id: string, command: readonly string[], stop: AbortSignal): Promise<Performed> {
  const exec = await docker.startExec(id, command);
  const end = Date.now() + EXEC_LIMIT_MS;
  for (let wait = 10; ; wait = Math.min(MAX_POLL_MS, 2 * wait)) {
    const { isRunning, exitCode, pid } = await docker.execState(exec);
    if (!isRunning) return exitCode === 0 ? { outcome: 'done', exitCode } : { outcome: 'failed', ...(exitCode === null ? {} : { exitCode }) };
    if (Date.now() >= end) {
      if (pid > 1) await signalProcess(pid, id, SIGKILL);
      return { outcome: 'failed', message: `the command did not end within ${EXEC_LIMIT_MS / 1000} s` };
    }
    await sleep(wait, undefined, { signal: stop });
  }
}

/** Docker quotes a command that it cannot start; its arguments may hold anything. */
function reasonOf(error: unknown, action: RotateAction): string {
  let reason = isPurserError(error) ? error.message : messageOf(error);
  if (action.type === 'exec') for (const argument of action.command.slice(1)) if (argument !== '') reason = reason.replaceAll(argument, '…');
  return reason.slice(0, MAX_MESSAGE);
}

// Signals to processes of a container, by their number on the host. Docker's own API for it takes every signal for the wish to stop the
// container: after `docker kill -s HUP` a container with a restart policy is not started again when it fails (moby daemon/kill.go,
// measured with 20.10). What runc does, kill(2) on the init process, has no such effect, and needs no Docker.

import { readFile } from 'node:fs/promises';
import { readContainerFacts } from './container-facts.ts';

/** The init process of a running container; undefined when it does not run. @throws ERR_RUNTIME_BUNDLE when Docker's record cannot be read */
export async function initProcess(dockerRoot: string, id: string): Promise<number | undefined> {
  const { isRunning, pid } = await readContainerFacts(dockerRoot, id);
  return isRunning && pid > 1 ? pid : undefined;
}

/**
 * Sends a signal if the process is still one of the container: the number could be anybody's by now, but its cgroup is the container's own.
 * @returns false when there is no such process
 */
export async function signalProcess(pid: number, id: string, signal: number): Promise<boolean> {
  const cgroups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  if (!cgroups.includes(id)) return false;
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

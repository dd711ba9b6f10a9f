// The warden (PROTOCOL.md section 4) is a process of purser-runtime that outlives the agent. The agent starts it when the first container asks for
// `purser.env=strict`, and again should somebody have ended it: without it runc cannot start anything in such a container.

import { execFile } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PurserError, messageOf } from '../lib/errors.ts';
import { runtimeProgram } from './launcher.ts';

const START_MS = 15_000;

export class Warden {
  /** Where runc hands over its listeners. */
  readonly listenerPath: string;
  readonly #runDirectory: string;
  #starting: Promise<void> | undefined;

  constructor(runDirectory: string) {
    this.#runDirectory = runDirectory;
    this.listenerPath = join(runDirectory, 'notices.sock');
  }

  /**
   * Resolves when a warden runs.
   * @throws ERR_RUNTIME_STRICT with the reason why this host cannot have one
   */
  async ensure(): Promise<void> {
    if (await isListening(join(this.#runDirectory, 'warden.sock'))) return;
    this.#starting ??= this.#start().finally(() => { this.#starting = undefined; });
    await this.#starting;
  }

  async #start(): Promise<void> {
    try {
      await promisify(execFile)(runtimeProgram(), ['purser-warden', '--run-dir', this.#runDirectory], { timeout: START_MS, maxBuffer: 65_536 });
    } catch (error) {
      const said = /purser: error: (.*)\npurser: hint: (.*)\n/.exec((error as { stderr?: string }).stderr ?? '');
      throw new PurserError('ERR_RUNTIME_STRICT', `label purser.env: strict is not possible on this host: ${said?.[1] ?? messageOf(error)}`,
        { hint: said?.[2] ?? 'see the log of the agent', cause: error });
    }
  }
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => { resolve(false); });
  });
}

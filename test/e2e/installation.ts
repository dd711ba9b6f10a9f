// One Purser installation inside the sandbox (scripts/sandbox.sh): core, agent, optionally the Swarm driver, and the runtime in
// the sandbox's Docker Engine, all started the way an operator or a service manager starts them. One per test file.

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, openSync, closeSync, readFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { join, resolve } from 'node:path';

import { eventually, must, run, type Result } from './command.ts';

const DIST = resolve(import.meta.dirname, '../../dist');
export const PURSER = join(DIST, 'purser');
export const RUNTIME = join(DIST, 'purser-runtime');
/** As setpriv writes them: `+sys_admin,+…`. */
const AGENT_CAPABILITIES = (/^CapabilityBoundingSet=(.*)$/m.exec(readFileSync(resolve(DIST, '../deploy/purser-agent.service'), 'utf8'))?.[1] ?? '').replaceAll('CAP_', '+').replaceAll(' ', ',').toLowerCase();
export const BASE = '/var/lib/purser-e2e';
export const ADDRESS = 'https://127.0.0.1:8200';

assert.equal(process.env['SANDBOX'], '1', 'end-to-end tests run inside scripts/sandbox.sh only');

export interface InstallationOptions {
  /** False: no runtime in Docker. */
  readonly runtime?: boolean;
  /** True: also a Swarm driver, with the identity that the agent has. */
  readonly driver?: boolean;
  /** False: the identity is there and no agent runs. */
  readonly agent?: boolean;
}

export class Installation {
  readonly dataDirectory = join(BASE, 'server');
  readonly stateDirectory = join(BASE, 'agent');
  readonly logDirectory = join(BASE, 'log');
  readonly #processes = new Map<string, ChildProcess>();

  /** Core, an operator's login, a `secret/db/*` policy for every container, an agent, and the runtime in Docker. */
  static async start(options: InstallationOptions = {}): Promise<Installation> {
    const installation = new Installation();
    try {
      await installation.#begin(options);
      return installation;
    } catch (error) {
      // A process that is left would keep the test from ending.
      for (const child of installation.#processes.values()) child.kill('SIGKILL');
      throw error;
    }
  }

  async #begin(options: InstallationOptions): Promise<void> {
    rmSync(BASE, { recursive: true, force: true });
    mkdirSync(this.logDirectory, { recursive: true, mode: 0o700 });
    await this.startCore();
    await this.purser('login', '--address', ADDRESS, '--ca-cert', this.caCertificate, '--token-file', join(this.dataDirectory, 'root-token'));
    await this.purserWithInput('path "secret/data/db/*" { capabilities = ["read"] }', 'policy', 'write', 'db', '-');
    await this.purser('workload', 'write', 'everything', '--policy', 'db', '--any');
    const token = await this.purser('node', 'token', ...(options.driver === true ? ['--driver'] : []));
    await this.purserWithInput(token, 'agent', 'join', '--token', '-', '--name', 'node-1', '--state-dir', this.stateDirectory);
    if (options.agent !== false) await this.startAgent();
    if (options.driver === true) await this.startDriver();
    if (options.runtime !== false) await this.purser('runtime', 'install');
  }

  get caCertificate(): string {
    return join(this.dataDirectory, 'tls', 'ca.pem');
  }

  /** A `purser` command that must succeed. */
  purser(...args: string[]): Promise<string> {
    return must(PURSER, args);
  }

  purserWithInput(input: string, ...args: string[]): Promise<string> {
    return must(PURSER, args, { input });
  }

  tryPurser(...args: string[]): Promise<Result> {
    return run(PURSER, args);
  }

  /** Writes a new version of a secret, its fields from standard input. */
  async put(path: string, fields: Record<string, unknown>): Promise<void> {
    await this.purserWithInput(JSON.stringify(fields), 'kv', 'put', path, '-');
  }

  async startCore(): Promise<void> {
    this.#spawn('core', PURSER, ['server', '--data-dir', this.dataDirectory, '--listen', '127.0.0.1:8200', '--auto-unseal-key-file', join(BASE, 'unseal.key'), '--init-if-needed']);
    await eventually('the core', async () => existsSync(this.caCertificate)
      && (await run(PURSER, ['status', '--address', ADDRESS, '--ca-cert', this.caCertificate])).status === 0, 20_000);
  }

  /** @param program what to run instead of what ships */
  async startAgent(program = PURSER): Promise<void> {
    this.launchAgent(program);
    await eventually('the agent', () => this.answers('/run/purser/agent.sock'));
  }

  /** Starts the agent as its systemd unit does, with no capability more, and does not wait for it. */
  launchAgent(program = PURSER): void {
    this.#spawn('agent', 'setpriv', [`--bounding-set=-all,${AGENT_CAPABILITIES}`, '--inh-caps=-all', '--no-new-privs', RUNTIME, 'purser-agent', '--', process.execPath, program, 'agent', '--state-dir', this.stateDirectory, '--metrics', `unix:${this.metricsSocket('agent')}`]);
  }

  /** As its systemd unit does: root without a capability. */
  async startDriver(): Promise<void> {
    const timesReady = (): number => existsSync(join(this.logDirectory, 'driver.log')) ? this.log('driver').split('driver ready').length - 1 : 0;
    const before = timesReady();
    this.#spawn('driver', 'setpriv', ['--bounding-set=-all', '--inh-caps=-all', '--no-new-privs', PURSER, 'driver', '--state-dir', this.stateDirectory, '--metrics', `unix:${this.metricsSocket('driver')}`]);
    // Its own word: the agent answers on the same path until the driver takes it.
    await eventually('the driver', () => timesReady() > before);
  }

  /** Where agent and driver serve their metrics. */
  metricsSocket(name: 'agent' | 'driver'): string {
    return join(BASE, `${name}-metrics.sock`);
  }

  /** Process id of core, agent or driver. */
  pid(name: string): number {
    const pid = this.#processes.get(name)?.pid;
    assert.ok(pid !== undefined, `${name} runs`);
    return pid;
  }

  /** Ends core, agent or driver with a signal and waits until it is gone. */
  async end(name: string, signal: NodeJS.Signals): Promise<void> {
    const child = this.#processes.get(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }

  log(name: string): string {
    return readFileSync(join(this.logDirectory, `${name}.log`), 'utf8');
  }

  async answers(socketPath: string): Promise<boolean> {
    const { connect } = await import('node:net');
    return new Promise((done) => {
      const socket = connect(socketPath);
      socket.once('connect', () => { socket.destroy(); done(true); });
      socket.once('error', () => { done(false); });
    });
  }

  /** Removes every container, the runtime, all processes and the mount. */
  async stop(): Promise<void> {
    const containers = (await must('docker', ['ps', '--all', '--quiet'])).split('\n').filter((id) => id !== '');
    if (containers.length > 0) await run('docker', ['rm', '--force', ...containers]);
    await run(PURSER, ['runtime', 'uninstall', '--force']);
    for (const name of ['driver', 'agent', 'core']) await this.end(name, 'SIGTERM');
    await must(PURSER, ['agent', 'release']);
    assert.equal(existsSync('/run/purser/holder.sock'), false, 'the holder is gone');
  }

  #spawn(name: string, program: string, args: readonly string[]): void {
    const log = openSync(join(this.logDirectory, `${name}.log`), 'a', 0o600);
    this.#processes.set(name, spawn(program, args, { stdio: ['ignore', log, log] }));
    closeSync(log);
  }
}

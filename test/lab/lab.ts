// Three machines on one: each with its own network, mount and host-name namespace, Docker Engine, agent and driver; one core beside them on the
// bridge of the sandbox. All managers, so that a leader can be lost. Runs inside scripts/sandbox.sh, whose end takes everything with it.

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { eventually, must, run, type Result } from '../e2e/command.ts';

if (process.env['SANDBOX'] !== '1') throw new Error('lab tests change the machine; run them with: scripts/sandbox.sh node scripts/run-tests.mjs test/lab');

const ROOT = resolve(import.meta.dirname, '../..');
export const PURSER = join(ROOT, 'dist/purser');
const RUNTIME = join(ROOT, 'dist/purser-runtime');
/** The bridge that scripts/sandbox-init.sh makes. */
const BRIDGE = 'sandbox0';
const CORE_HOST = '10.213.0.1';
export const CORE = `https://${CORE_HOST}:8200`;
const BASE = '/var/lib/purser-lab';
/** Bytes of the file system that a machine keeps its agent's state on: small, so that it can be filled. */
const STATE_SIZE = '24m';

/** What makes a machine of a process: file systems of its own that nobody else sees, on a root that is shared again, because live secrets propagate. */
const MACHINE = `set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/tmp
for folder in /etc/docker /var/lib/docker /var/lib/containerd; do mkdir -p $folder; mount -t tmpfs -o mode=711 tmpfs $folder; done
mkdir -p /var/lib/purser && mount -t tmpfs -o mode=700,size=${STATE_SIZE} tmpfs /var/lib/purser
mount --make-rshared /
hostname "$0"
ip link set lo up
echo ready
exec sleep infinity`;

/** Processes by name, ended and started again. */
class Programs {
  readonly #running = new Map<string, ChildProcess>();
  readonly #logs: string;

  constructor(logs: string) {
    this.#logs = logs;
  }

  start(name: string, program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): ChildProcess {
    const log = openSync(join(this.#logs, `${name}.log`), 'a', 0o600);
    const child = spawn(program, args, { stdio: ['ignore', log, log], env });
    closeSync(log);
    this.#running.set(name, child);
    return child;
  }

  /** Ends a process that was started here, and waits until it is gone. */
  async end(name: string, signal: NodeJS.Signals): Promise<void> {
    const child = this.#running.get(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }

  log(name: string): string {
    return readFileSync(join(this.#logs, `${name}.log`), 'utf8');
  }
}

export class Machine {
  readonly name: string;
  readonly address: string;
  readonly #programs: Programs;
  #pid = 0;

  constructor(index: number, programs: Programs) {
    this.name = `lab-${String(index)}`;
    this.address = `10.213.0.${String(10 + index)}`;
    this.#programs = programs;
  }

  /** Where the machine's files are seen from outside. */
  get root(): string {
    return `/proc/${String(this.#pid)}/root`;
  }

  async up(): Promise<void> {
    await must('ip', ['netns', 'add', this.name]);
    await must('ip', ['link', 'add', this.name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', this.name]);
    await must('ip', ['link', 'set', this.name, 'master', BRIDGE, 'up']);
    await must('ip', ['-n', this.name, 'address', 'add', `${this.address}/24`, 'dev', 'eth0']);
    await must('ip', ['-n', this.name, 'link', 'set', 'eth0', 'up']);
    await must('ip', ['-n', this.name, 'route', 'add', 'default', 'via', CORE_HOST]);
    const init = this.#programs.start(`${this.name}-init`, 'nsenter', [`--net=/run/netns/${this.name}`, 'unshare', '--mount', '--uts', 'bash', '-c', MACHINE, this.name]);
    this.#pid = init.pid ?? 0;
    await eventually(`${this.name} to be made`, () => this.#programs.log(`${this.name}-init`).includes('ready'));
    await this.startDockerd();
    await must('bash', [join(ROOT, 'scripts/busybox-image.sh')], { env: this.#dockerEnvironment });
  }

  async startDockerd(): Promise<void> {
    this.#start('dockerd', 'dockerd', [`--cgroup-parent=${process.env['SANDBOX_CGROUP'] ?? ''}`]);
    await eventually(`dockerd of ${this.name}`, async () => (await run('docker', ['version'], { env: this.#dockerEnvironment })).status === 0, 30_000);
  }

  /** With a token, joins first. */
  async startAgent(token?: string): Promise<void> {
    if (token !== undefined) await must('nsenter', this.#enter(PURSER, ['agent', 'join', '--token', '-', '--name', this.name]), { input: token });
    this.#start('agent', RUNTIME, ['purser-agent', '--', process.execPath, PURSER, 'agent']);
    await eventually(`the agent of ${this.name}`, async () => (await run('nsenter', this.#enter('test', ['-S', '/run/purser/agent.sock']))).status === 0
      && this.log('agent').split('"agent ready"').length > 1, 20_000);
  }

  async startDriver(): Promise<void> {
    this.#start('driver', PURSER, ['driver']);
    await eventually(`the driver of ${this.name}`, () => this.log('driver').includes('driver ready'), 20_000);
  }

  /** Ends dockerd, agent or driver. */
  end(program: 'dockerd' | 'agent' | 'driver', signal: NodeJS.Signals): Promise<void> {
    return this.#programs.end(`${this.name}-${program}`, signal);
  }

  log(program: 'dockerd' | 'agent' | 'driver'): string {
    return this.#programs.log(`${this.name}-${program}`);
  }

  /** A command on the machine that must succeed. */
  run(program: string, ...args: string[]): Promise<string> {
    return must('nsenter', this.#enter(program, args));
  }

  docker(...args: string[]): Promise<string> {
    return must('docker', args, { env: this.#dockerEnvironment });
  }

  tryDocker(...args: string[]): Promise<Result> {
    return run('docker', args, { env: this.#dockerEnvironment, timeoutMs: 30_000 });
  }

  async setNetwork(state: 'up' | 'down'): Promise<void> {
    await must('ip', ['link', 'set', this.name, state]);
  }

  get #dockerEnvironment(): NodeJS.ProcessEnv {
    return { ...process.env, DOCKER_HOST: `unix://${this.root}/run/docker.sock` };
  }

  #start(program: string, path: string, args: readonly string[]): void {
    this.#programs.start(`${this.name}-${program}`, 'nsenter', this.#enter(path, args));
  }

  #enter(program: string, args: readonly string[]): string[] {
    // nsenter executes the program in place, so that a signal to it is one to the program.
    return [`--target=${String(this.#pid)}`, '--mount', '--net', '--uts', '--', program, ...args];
  }
}

export class Lab {
  readonly machines: readonly Machine[];
  readonly #programs: Programs;

  private constructor() {
    mkdirSync(join(BASE, 'log'), { recursive: true, mode: 0o700 });
    this.#programs = new Programs(join(BASE, 'log'));
    this.machines = [1, 2, 3].map((index) => new Machine(index, this.#programs));
  }

  /** Core, three managers of one Swarm with agents and drivers, and a policy `secret/db/*` for every container. */
  static async up(): Promise<Lab> {
    const lab = new Lab();
    // The sandbox's own engine would drop what is bridged.
    await must('iptables', ['-I', 'FORWARD', '-i', BRIDGE, '-o', BRIDGE, '-j', 'ACCEPT']);
    await Promise.all([lab.startCore(), ...lab.machines.map((machine) => machine.up())]);
    await lab.purser('login', '--address', CORE, '--ca-cert', lab.caCertificate, '--token-file', join(BASE, 'server/root-token'));
    await must(PURSER, ['policy', 'write', 'db', '-'], { input: 'path "secret/data/db/*" { capabilities = ["read"] }' });
    await lab.purser('workload', 'write', 'everything', '--policy', 'db', '--any');
    const [first] = lab.machines;
    assert.ok(first !== undefined);
    await first.docker('swarm', 'init', '--advertise-addr', first.address);
    const swarmToken = await first.docker('swarm', 'join-token', '--quiet', 'manager');
    for (const machine of lab.machines) if (machine !== first) await machine.docker('swarm', 'join', '--token', swarmToken, '--advertise-addr', machine.address, first.address);
    for (const machine of lab.machines) {
      await machine.startAgent(await lab.purser('node', 'token', '--driver'));
      await machine.startDriver();
      // The last one goes without: there the agent mounts over Docker's files.
      if (machine !== lab.machines.at(-1)) await machine.run(PURSER, 'runtime', 'install');
    }
    return lab;
  }

  get caCertificate(): string {
    return join(BASE, 'server/tls/ca.pem');
  }

  purser(...args: string[]): Promise<string> {
    return must(PURSER, args);
  }

  async put(path: string, fields: Record<string, string>): Promise<void> {
    await must(PURSER, ['kv', 'put', path, '-'], { input: JSON.stringify(fields) });
  }

  async startCore(): Promise<void> {
    this.#programs.start('core', PURSER, ['server', '--data-dir', join(BASE, 'server'), '--listen', `${CORE_HOST}:8200`, '--public-address', CORE, '--auto-unseal-key-file', join(BASE, 'unseal.key'), '--init-if-needed']);
    await eventually('the core', async () => existsSync(this.caCertificate) && (await run(PURSER, ['status', '--address', CORE, '--ca-cert', this.caCertificate])).status === 0, 20_000);
  }

  endCore(signal: NodeJS.Signals): Promise<void> {
    return this.#programs.end('core', signal);
  }

  /** The machine whose engine leads the Swarm, as another one sees it. */
  async leader(except?: Machine): Promise<Machine> {
    const asked = this.machines.find((machine) => machine !== except);
    assert.ok(asked !== undefined);
    return eventually('a leader', async () => {
      const { status, stdout } = await asked.tryDocker('node', 'ls', '--format', '{{.Hostname}} {{.ManagerStatus}} {{.Status}}');
      const name = status === 0 ? /^(\S+) Leader/m.exec(stdout)?.[1] : undefined;
      return this.machines.find((machine) => machine.name === name && machine !== except);
    }, 30_000);
  }

  async down(): Promise<void> {
    for (const machine of this.machines) {
      await machine.setNetwork('up');
      await machine.tryDocker('swarm', 'leave', '--force');
      for (const program of ['driver', 'agent', 'dockerd'] as const) await machine.end(program, 'SIGTERM');
      await run('nsenter', [`--target=${machine.root.split('/')[2] ?? ''}`, '--mount', PURSER, 'agent', 'release']);
      await this.#programs.end(`${machine.name}-init`, 'SIGKILL');
      await run('ip', ['netns', 'delete', machine.name]);
    }
    await this.endCore('SIGTERM');
  }
}

// This machine as a node: Docker, FUSE, the runtime shim, the agent, its login at the core. A machine that is none skips them.

import { constants } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { loadIdentity, type NodeIdentity } from '../../client/node/identity.ts';
import type { RuntimeOptions, RuntimeSetup } from '../context.ts';
import { VERSION } from '../../lib/version.ts';
import { tryConnect } from '../try-connect.ts';
import { fail, ok, skip, warn, type Check, type Finding } from './finding.ts';

/** Major 10, minor 229 (Documentation/admin-guide/devices.txt), as stat(2) gives it. */
const FUSE_DEVICE = 10 << 8 | 229;

/** As agent/runtime-config.ts gives it. */
interface RuntimeStatus {
  readonly configuredPath?: string;
  readonly default: boolean;
  readonly dockerLive?: boolean;
  readonly binaryPath: string;
  readonly binary: 'works' | 'missing' | 'not-executable' | 'not-purser-runtime';
  readonly binaryVersion?: string;
  readonly versionMatches: boolean;
  readonly sameBuild?: boolean;
}

const INSTALL = 'purser runtime install';
const BROKEN_BINARY = { missing: 'is missing', 'not-executable': 'cannot be executed', 'not-purser-runtime': 'is no working purser-runtime' } as const;

export interface NodeCheckOptions extends RuntimeOptions {
  readonly runtime: () => Promise<RuntimeSetup>;
  /** The shim that belongs to this program. */
  readonly builtShim: string;
  readonly stateDirectory: string;
  readonly runDirectory: string;
}

export function nodeChecks(options: NodeCheckOptions): Check[] {
  let status: RuntimeStatus | undefined;
  let identity: NodeIdentity | undefined;
  let isNode = true; // until the state says otherwise
  const joined = (check: (identity: NodeIdentity) => Promise<Omit<Finding, 'check'>>) => async () => (identity === undefined ? skip(isNode ? 'see node' : 'this machine is no node') : check(identity));
  return [
    {
      name: 'docker', run: async () => {
        status = await (await options.runtime()).runtimeStatus({ daemonJson: options.daemonJson, dockerSocket: options.dockerSocket, source: options.builtShim }) as RuntimeStatus;
        return status.dockerLive === undefined ? warn(`no Docker Engine answers at ${options.dockerSocket}`, 'start Docker, or name its socket with --docker-socket') : ok('the Docker Engine answers');
      },
    },
    { name: 'runtime', run: async () => (status === undefined ? skip('see docker') : runtime(status, options.daemonJson)) },
    { name: 'fuse', run: checkFuse },
    {
      name: 'node', run: async () => {
        identity = await loadIdentity(options.stateDirectory);
        isNode = identity !== undefined;
        if (identity !== undefined) return ok(`joined ${identity.address} as ${identity.name}`);
        const isAgentHere = await tryConnect(join(options.runDirectory, 'agent.sock')) === undefined;
        return isAgentHere ? warn(`an agent runs here, and ${options.stateDirectory} is not its state directory`, 'name it with --state-dir') : skip('this machine is no node; purser node token and purser agent join make it one');
      },
    },
    { name: 'agent', run: joined(() => checkAgent(options.runDirectory)) },
    { name: 'node login', run: joined(checkLogin) },
  ];
}

/** The first of what is wrong, the gravest first: what stops containers, what lets them start without their secrets, what is only old. */
function runtime({ configuredPath, default: isDefault, dockerLive, binaryPath, binary, binaryVersion, versionMatches, sameBuild }: RuntimeStatus, daemonJson: string): Omit<Finding, 'check'> {
  const isConfigured = configuredPath === binaryPath;
  if (binary !== 'works' && (isConfigured || dockerLive === true)) {
    return fail(`${binaryPath} ${BROKEN_BINARY[binary]}, and the Docker Engine is told to start containers with it: none can start`, INSTALL);
  }
  if (!isConfigured && configuredPath !== undefined) return fail(`${daemonJson} names ${configuredPath} as the runtime purser, not ${binaryPath}`, INSTALL);
  if (!isConfigured && dockerLive === true) return warn(`the Docker Engine uses the runtime until it reads its configuration again: ${daemonJson} does not name it any more`, INSTALL);
  if (!isConfigured) return warn('the runtime is not installed: labels and variables with references do nothing', INSTALL);
  if (!isDefault) return warn(`${daemonJson} names the runtime and does not make it the default: labels and variables of most containers do nothing`, INSTALL);
  if (dockerLive === false) {
    return fail(`${daemonJson} names the runtime, and the running Docker Engine does not use it: containers start without their secrets`, `${INSTALL}, which makes the engine read the file; its log says why when it does not`);
  }
  if (!versionMatches) return warn(`${binaryPath} is of version ${binaryVersion ?? 'unknown'}, this program of version ${VERSION}`, `${INSTALL}, by the program of the newer version`);
  if (sameBuild === false) return warn(`${binaryPath} is another build of version ${VERSION} than the one that belongs to this program`, INSTALL);
  return ok(dockerLive === undefined ? `${binaryPath} is installed` : `${binaryPath} starts the containers`);
}

async function checkFuse(): Promise<Omit<Finding, 'check'>> {
  try {
    const device = await open('/dev/fuse', constants.O_RDWR);
    const found = await device.stat().finally(() => device.close());
    return found.isCharacterDevice() && found.rdev === FUSE_DEVICE ? ok('/dev/fuse can be opened') : fail('/dev/fuse is something else than the FUSE device', 'rm /dev/fuse && mknod -m 666 /dev/fuse c 10 229');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EACCES' || code === 'EPERM' ? warn('/dev/fuse cannot be opened by this user', 'run doctor as root, and the agent on the host and not in a container') : fail('the kernel offers no FUSE', 'modprobe fuse');
  }
}

async function checkAgent(runDirectory: string): Promise<Omit<Finding, 'check'>> {
  const hint = 'systemctl start purser-agent, or purser agent; its log says why it does not run';
  const refusal = await tryConnect(join(runDirectory, 'agent.sock'));
  if (refusal === 'EACCES') return skip('only root may ask the agent');
  if (refusal !== undefined) return fail(`the agent does not run (${refusal})`, hint);
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  return mounts.includes(` ${join(runDirectory, 'fs')} `) ? ok('the agent runs and its filesystem is mounted') : fail('the agent runs and its filesystem is not mounted', 'restart the agent');
}

/** Logs in as the agent does, and gives the token back. */
async function checkLogin(identity: NodeIdentity): Promise<Omit<Finding, 'check'>> {
  const { NodeSession } = await import('../../client/node/session.ts'); // signs with jose, which no other command needs
  const session = new NodeSession(identity);
  try {
    const client = await session.ready();
    await client.write('auth/token/revoke-self', {});
    return ok(`the core knows this node as ${identity.name}`);
  } finally {
    session.close();
  }
}

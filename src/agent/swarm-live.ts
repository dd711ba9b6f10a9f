// Live Swarm secrets of a task that runs already, with Docker's own secret files: Docker writes down which secrets a task has only once it runs,
// so the runtime does not see them at the create, where it is installed at all. The agent
// resolves the secrets and bind-mounts its own file over each of Docker's on the host, from where it propagates into the
// running container (reference: Docker gives each container's secrets a shared tmpfs). Whatever fails leaves Docker's value.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { PurserError } from '../lib/errors.ts';
import type { IdMapping } from './bundle.ts';
import type { ContainerFacts, SwarmSecretReference } from './container-facts.ts';
import type { ContainerRecord, GrantedFile, OverMount } from './container-record.ts';
import type { CoreLink } from './core-link.ts';
import { cgroupPathIn, decidingHierarchy, mountRoot } from './fuse/caller.ts';
import type { SecretFile } from './fuse/plan.ts';
import { bindReadOnly, mountsOf, unmount } from './host-mounts.ts';
import { placeSwarm } from './placement.ts';
import type { Delivery } from './resolve-outcome.ts';
import type { SecretTrees } from './prepare.ts';
import { workloadOf } from './workload.ts';
import type { Images } from './workload.ts';

export interface SwarmLiveOptions {
  readonly trees: SecretTrees;
  readonly core: Pick<CoreLink, 'resolve'>;
  readonly docker: Images;
  readonly log: Logger;
  /** The read-only bind of the filesystem: `<run-dir>/ro`. */
  readonly mountRoot: string;
}

export class SwarmLive {
  readonly #options: SwarmLiveOptions;

  constructor(options: SwarmLiveOptions) {
    this.#options = options;
  }

  /**
   * Makes the Swarm secrets of a running task follow the core.
   * @param isAddition the task has a tree already, which gets these files too
   * @returns the record of what is served now; undefined when none of the secrets is Purser's
   * @throws when the core cannot say or a mount fails; nothing is left behind then, but files in the tree that was there, which nothing leads to
   */
  async attach(facts: ContainerFacts, dockerRoot: string, isAddition = false): Promise<ContainerRecord | undefined> {
    const { pid } = facts;
    const workload = await workloadOf(facts.container, this.#options.docker);
    // Docker has one file per secret, however many references with different modes there are: the first one counts.
    const secrets = [...new Map(facts.swarmSecrets.toReversed().map((secret) => [secret.secretId, secret])).values()];
    const { workloads: [answer] } = await this.#options.core.resolve({ workloads: [{ ...workload, references: [], swarm_secrets: secrets.map(({ secretName }) => secretName) }] });
    const swarm = secrets.flatMap((secret, index) => {
      const result = answer?.swarm_secrets?.[index];
      if (result?.outcome === 'error') this.#options.log.warn({ container: workload.name, secret: secret.secretName, reason: result.message }, 'a Swarm secret cannot be followed; the task keeps the value Docker gave it');
      return result?.outcome === 'value' ? [{ secret, result }] : [];
    });
    if (swarm.length === 0) return undefined;
    const placed = place(swarm, await idMappings(pid, 'uid_map'), await idMappings(pid, 'gid_map'));
    const record: ContainerRecord = {
      workload, dockerRoot, grantedAt: Date.now(), files: placed.granted,
      overMounts: placed.granted.map((file, index) => ({ name: file.name, over: join(dockerRoot, 'containers', workload.id, 'mounts', 'secrets', swarm[index]?.secret.secretId ?? '') })),
    };
    try {
      await this.#options.trees.add({ id: workload.id, cgroupPath: await cgroupOf(pid, workload.id), files: placed.files, isAddition });
      await this.mount(record, pid);
    } catch (error) {
      await this.detach(record);
      if (!isAddition) await this.#options.trees.remove(workload.id);
      throw error;
    } finally {
      for (const { content } of placed.files) content.fill(0);
    }
    return record;
  }

  /** Mounts what is not mounted yet, and checks that the running container sees it. */
  async mount(record: ContainerRecord, pid: number): Promise<void> {
    const mounted = new Set((await mountsOf('self')).filter(({ type }) => type.startsWith('fuse')).map(({ mountPoint }) => mountPoint));
    for (const { name, over } of record.overMounts) {
      if (!mounted.has(over)) await bindReadOnly(join(this.#options.mountRoot, record.workload.id, 'bound', name), over);
    }
    const inside = new Map((await mountsOf(pid)).map((entry) => [entry.mountPoint, entry.type]));
    const unseen = record.files.find(({ name, target }) => record.overMounts.some((mount) => mount.name === name) && inside.get(target)?.startsWith('fuse') !== true);
    if (unseen === undefined) return;
    throw new PurserError('ERR_FUSE_UNAVAILABLE', `the mount over the Swarm secret at ${unseen.target} does not reach the container`,
      { hint: 'install the runtime (purser runtime install), or make the mount of Docker\'s data root shared' });
  }

  /** Takes the mounts away, and with them the agent's hold on Docker's files. */
  async detach(record: { readonly overMounts: readonly OverMount[] }): Promise<void> {
    if (record.overMounts.length === 0) return;
    const mounted = new Set((await mountsOf('self')).filter(({ type }) => type.startsWith('fuse')).map(({ mountPoint }) => mountPoint));
    for (const { over } of record.overMounts) if (mounted.has(over)) await unmount(over);
  }
}

function place(swarm: readonly { readonly secret: SwarmSecretReference; readonly result: Delivery }[], uidMappings: IdMapping[], gidMappings: IdMapping[]): { files: SecretFile[]; granted: GrantedFile[] } {
  const files: SecretFile[] = [];
  const granted: GrantedFile[] = [];
  placeSwarm({ swarm, uidMappings, gidMappings }, files, granted);
  return { files, granted };
}

/** The container's own cgroup, whatever cgroup below it the main process has moved to. */
async function cgroupOf(pid: number, id: string): Promise<string> {
  const file = await readFile(`/proc/${pid}/cgroup`, 'utf8');
  const mountinfo = await readFile('/proc/self/mountinfo', 'utf8');
  const head = decidingHierarchy(file, mountinfo);
  const path = head === undefined ? undefined : cgroupPathIn(file, head);
  if (head === undefined || path === undefined) throw unknownCgroup();
  const root = mountRoot(mountinfo, head);
  const own = path.startsWith(root) ? path.slice(root.length) : path;
  const parts = own.split('/');
  const last = parts.findIndex((part) => part.includes(id));
  if (last === -1) throw unknownCgroup();
  return parts.slice(0, last + 1).join('/');
}

function unknownCgroup(): PurserError {
  return new PurserError('ERR_FUSE_UNAVAILABLE', 'the cgroup of the container cannot be known', { hint: 'install the runtime (purser runtime install): it tells the agent' });
}

/** Lines `inside outside count` of user_namespaces(7); the host's own namespace maps everything to itself. */
async function idMappings(pid: number, name: 'uid_map' | 'gid_map'): Promise<IdMapping[]> {
  const text = await readFile(`/proc/${pid}/${name}`, 'utf8');
  return text.trim().split('\n').map((line) => {
    const [containerId = 0, hostId = 0, size = 0] = line.trim().split(/\s+/).map(Number);
    return { containerId, hostId, size };
  });
}

// The mounts of volumes: a tree for each mount, readable by the processes of one container. Docker asks for a mount without saying for
// which container. Where only one can be meant, that container's secrets are resolved before the mount is answered, and a refusal keeps
// it from starting; otherwise Docker's next event tells, and at the latest the container's record, which names the mount. Until then its
// readers wait a moment and are refused. Nobody ever reads a tree on a guess: values lie in it only for the container they were resolved for.

import type { Logger } from 'pino';
import { PurserError, isPurserError, messageOf } from '../../lib/errors.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { bytesOfValue } from '../../lib/secret-bytes.ts';
import type { Workload } from '../../wire/node-protocol.ts';
import { describeReference, parseReference } from '../../wire/reference.ts';
import { readContainerFacts } from '../container-facts.ts';
import { treeOf } from '../container-record.ts';
import type { ContainerRecord, GrantedFile } from '../container-record.ts';
import { hasStarted } from '../container-start.ts';
import type { Containers } from '../containers.ts';
import type { CoreLink } from '../core-link.ts';
import type { DockerEngine, VolumeMountEvent } from '../docker.ts';
import type { ContainerTree, SecretFile } from '../fuse/plan.ts';
import type { Ledger } from '../ledger.ts';
import { refusal } from '../prepare.ts';
import { explainOutcome, firstOf, isDelivery } from '../resolve-outcome.ts';
import type { Delivery } from '../resolve-outcome.ts';
import type { Rotation } from '../rotation.ts';
import { workloadOf } from '../workload.ts';
import type { VolumeDefinition, VolumeDefinitions } from './definitions.ts';

export interface VolumesOptions {
  readonly definitions: VolumeDefinitions;
  readonly trees: {
    add(tree: ContainerTree): Promise<void>;
    remove(id: string): Promise<void>;
    containers(): readonly { readonly id: string; readonly cgroupPath?: string | undefined }[];
  };
  readonly core: Pick<CoreLink, 'resolve'>;
  readonly docker: Pick<DockerEngine, 'info' | 'listed' | 'volumeUsers' | 'imageLabels'>;
  readonly containers: Pick<Containers, 'all' | 'get' | 'put' | 'delete'>;
  readonly rotation: Pick<Rotation, 'epoch' | 'admitted'>;
  readonly ledger: Pick<Ledger, 'know' | 'granted' | 'released' | 'acted'>;
  readonly log: Logger;
  /** The read-only bind of the filesystem: `<run-dir>/ro`. */
  readonly mountRoot: string;
}

/** A mount of which is not known yet for whom it is. */
interface Pending {
  /** Undefined: a predecessor mounted it. */
  readonly volume: string | undefined;
  readonly uses: number;
  readonly since: number;
  /** The container it is mounted in, which gets nothing of it. */
  readonly refused?: string;
}

interface Mounted { readonly container: string; readonly destination: string }

/** A container that has a volume and may be starting; any other is running or gone. */
const MAY_START: ReadonlySet<string> = new Set(['created', 'exited', 'restarting']);
/** As long as the ledger takes a message. */
const MAX_MESSAGE = 512;
/** A mount that nobody took for this long was left by a Docker that died. */
const PENDING_MS = 3600_000;

export class Volumes {
  readonly #options: VolumesOptions;
  readonly #lock = new KeyedLock();
  readonly #pending = new Map<string, Pending>();
  #dockerRoot: string | undefined;

  constructor(options: VolumesOptions) {
    this.#options = options;
  }

  /** Takes over the mounts of a predecessor. */
  recover(): void {
    const { trees, containers } = this.#options;
    for (const { id, cgroupPath } of trees.containers()) {
      if (cgroupPath === undefined && containers.get(id) === undefined) this.#pending.set(id, { volume: undefined, uses: 1, since: Date.now() });
    }
  }

  /** True for a tree that is the mount of a volume. */
  isMount(tree: string): boolean {
    return this.#pending.has(tree) || this.#options.containers.get(tree)?.volume !== undefined;
  }

  /** @throws ERR_WORKLOAD_INVALID, ERR_REFERENCE_SYNTAX */
  create(name: string, options: Readonly<Record<string, string>>): Promise<void> {
    return this.#options.definitions.create(name, options);
  }

  async remove(name: string): Promise<void> {
    const isUsed = this.#options.containers.all().some(({ volume }) => volume?.name === name) || [...this.#pending.values()].some(({ volume }) => volume === name);
    if (isUsed) throw new PurserError('ERR_WORKLOAD_INVALID', `the volume ${name} is mounted`);
    await this.#options.definitions.remove(name);
  }

  all(): VolumeDefinition[] {
    return this.#options.definitions.all();
  }

  /** @throws ERR_WORKLOAD_INVALID when there is none */
  get(name: string): VolumeDefinition {
    const definition = this.#options.definitions.get(name);
    if (definition === undefined) throw new PurserError('ERR_WORKLOAD_INVALID', 'there is no volume of this name', { hint: 'docker volume create -d purser' });
    return definition;
  }

  /**
   * Mounts a volume once more.
   * @param mountId Docker's own name for the mount of one container
   * @returns the mount point
   * @throws the reason why the container must not start, where it is known for which one this is
   */
  mount(name: string, mountId: string): Promise<string> {
    const { trees, mountRoot, containers } = this.#options;
    return this.#lock.run(mountId, async () => {
      const mountPoint = `${mountRoot}/${mountId}/files`;
      const definition = this.get(name);
      if (this.#used(mountId, 1)) return mountPoint;
      await trees.add({ id: mountId, files: definition.files.map((file) => ({ ...emptyFile(file) })) });
      this.#pending.set(mountId, { volume: name, uses: 1, since: Date.now() });
      const only = await this.#candidate(name);
      if (only === undefined) return mountPoint;
      try {
        await this.#assign(mountId, only);
        return mountPoint;
      } catch (error) {
        this.#pending.delete(mountId);
        containers.delete(mountId);
        await trees.remove(mountId);
        throw error;
      }
    });
  }

  /** Ends one use of a mount, and the mount with the last. */
  unmount(mountId: string): Promise<void> {
    return this.#lock.run(mountId, async () => {
      if (this.#used(mountId, -1)) return;
      const record = this.#options.containers.get(mountId);
      await this.#drop(mountId);
      if (record === undefined || this.#options.containers.all().some(({ workload }) => workload.id === record.workload.id)) return;
      this.#options.ledger.released(record.workload.id, await hasStarted(record) ? 'exited' : 'start-failed');
    });
  }

  /** Docker says which container a volume was mounted for, not which mount it was. */
  async mounted({ volume, container, destination }: VolumeMountEvent): Promise<void> {
    if (this.#options.containers.all().some((record) => record.volume?.name === volume && record.workload.id === container)) return;
    const waiting = [...this.#pending].filter(([, pending]) => pending.volume === volume).map(([mountId]) => mountId);
    const [mountId] = waiting;
    if (mountId !== undefined && waiting.length === 1) await this.#assignLate(mountId, { container, destination });
  }

  /** A container runs, and its record names its mounts: every mount is its now, whatever was thought before. */
  async started(id: string): Promise<void> {
    if (this.#pending.size === 0 && !this.#options.containers.all().some(({ volume }) => volume !== undefined)) return;
    const root = await this.#root();
    if (root === undefined) return;
    const { volumes } = await readContainerFacts(root, id);
    for (const { mountId, name, destination } of volumes) {
      if (!this.isMount(mountId) || this.#options.containers.get(mountId)?.workload.id === id) continue;
      const pending = this.#pending.get(mountId);
      if (pending?.volume === undefined) this.#pending.set(mountId, { uses: 1, since: Date.now(), ...pending, volume: name });
      await this.#assignLate(mountId, { container: id, destination });
    }
  }

  /**
   * A container ended.
   * @param time milliseconds since the epoch; what was mounted later belongs to its next run
   * @returns true when it had a volume
   */
  async ended(id: string, time: number): Promise<boolean> {
    const mounts = this.#options.containers.all().filter((record) => record.volume !== undefined && record.workload.id === id && record.grantedAt <= time).map(treeOf);
    for (const [mountId, { refused, since }] of this.#pending) if (refused === id && since <= time) mounts.push(mountId);
    for (const mountId of mounts) await this.#lock.run(mountId, () => this.#drop(mountId));
    return mounts.length > 0;
  }

  /** Removes mounts that nobody ever took. */
  async tidy(): Promise<void> {
    for (const [mountId, { since }] of this.#pending) if (Date.now() - since > PENDING_MS) await this.#lock.run(mountId, () => this.#drop(mountId));
  }

  async #drop(mountId: string): Promise<void> {
    this.#pending.delete(mountId);
    await this.#options.trees.remove(mountId);
    if (this.#options.containers.get(mountId) !== undefined) this.#options.containers.delete(mountId);
  }

  /** Counts a use more or less. False when there is no such mount, or when this was its last use. */
  #used(mountId: string, change: 1 | -1): boolean {
    const pending = this.#pending.get(mountId);
    const record = this.#options.containers.get(mountId);
    const uses = (pending?.uses ?? record?.volume?.uses ?? 0) + change;
    if ((pending === undefined && record === undefined) || uses === 0) return false;
    if (pending !== undefined) this.#pending.set(mountId, { ...pending, uses });
    else if (record?.volume !== undefined) this.#options.containers.put({ ...record, volume: { ...record.volume, uses } });
    return true;
  }

  /** The one container that has this volume and is about to start. The list does not wait for the start, as inspect would. */
  async #candidate(volume: string): Promise<Mounted | undefined> {
    try {
      const taken = new Set(this.#options.containers.all().filter((record) => record.volume?.name === volume).map(({ workload }) => workload.id));
      const users = (await this.#options.docker.volumeUsers(volume)).filter(({ id, state }) => MAY_START.has(state) && !taken.has(id));
      const [user] = users;
      return user === undefined || users.some(({ id }) => id !== user.id) ? undefined : { container: user.id, destination: user.destination };
    } catch (error) {
      this.#options.log.warn({ volume, err: messageOf(error) }, 'Docker cannot be asked for which container a volume is mounted; its event will tell');
      return undefined;
    }
  }

  /** The container goes on to start whatever comes out, so a refusal can only be told here. */
  #assignLate(mountId: string, mounted: Mounted): Promise<void> {
    return this.#lock.run(mountId, async () => {
      if (!this.isMount(mountId) || this.#options.containers.get(mountId)?.workload.id === mounted.container) return;
      await this.#assign(mountId, mounted).catch((error: unknown) => {
        const pending = this.#pending.get(mountId);
        if (pending !== undefined) this.#pending.set(mountId, { ...pending, refused: mounted.container });
        this.#options.log.error({ container: mounted.container.slice(0, 12), err: messageOf(error) }, 'a volume is mounted in a container that gets nothing of it');
        const volume = pending?.volume ?? this.#options.containers.get(mountId)?.volume?.name ?? '';
        const reason = isPurserError(error) ? error.message : 'the agent failed, see its log';
        this.#options.ledger.acted(mounted.container, { action: `volume:${volume}`, outcome: 'failed', attempt: 1, duration_ms: 0, message: reason.slice(0, MAX_MESSAGE) });
      });
    });
  }

  async #assign(mountId: string, { container, destination }: Mounted): Promise<void> {
    const { containers, rotation, ledger, trees, log } = this.#options;
    const { volume, uses } = this.#pending.get(mountId) ?? { volume: containers.get(mountId)?.volume?.name, uses: containers.get(mountId)?.volume?.uses ?? 1 };
    const definition = this.get(volume ?? '');
    const { workload, dockerRoot } = await this.#facts(container);
    const record: ContainerRecord = {
      workload, grantedAt: Date.now(), files: [], overMounts: [], volume: { name: definition.name, mountId, uses },
      ...(definition.onRotate === undefined ? {} : { onRotate: definition.onRotate }), ...(dockerRoot === undefined ? {} : { dockerRoot }),
    };
    // The ledger says whose files a refused reader wanted, whatever comes out.
    ledger.know(record);
    const { epoch } = rotation;
    try {
      const { files, granted } = place(definition, destination, await this.#resolve(workload, definition));
      await trees.add({ id: mountId, readerId: container, files }).finally(() => { for (const { content } of files) content.fill(0); });
      const next = { ...record, files: granted };
      this.#pending.delete(mountId);
      containers.put(next);
      ledger.granted(next);
      rotation.admitted(next, epoch);
      log.info({ container: workload.name, id: container.slice(0, 12), volume, secrets: granted.length }, 'volume mounted');
    } catch (error) {
      throw refusal(container, workload.name, error);
    }
  }

  async #resolve(workload: Workload, definition: VolumeDefinition): Promise<Delivery[]> {
    const { workloads: [answer] } = await this.#options.core.resolve({ workloads: [{ ...workload, references: definition.files.map(({ text }) => text) }] });
    const errors: PurserError[] = [];
    const deliveries = definition.files.flatMap(({ text }, index) => {
      const result = answer?.results[index];
      if (isDelivery(result)) return [result];
      errors.push(explainOutcome(parseReference(text), result));
      return [];
    });
    const first = firstOf(errors);
    if (first !== undefined) throw first;
    return deliveries;
  }

  async #facts(id: string): Promise<{ readonly workload: Workload; readonly dockerRoot?: string }> {
    const { docker } = this.#options;
    const dockerRoot = await this.#root();
    if (dockerRoot !== undefined) {
      const facts = await readContainerFacts(dockerRoot, id).catch(() => undefined);
      if (facts !== undefined) return { workload: await workloadOf(facts.container, docker), dockerRoot };
    }
    const listed = await docker.listed(id);
    if (listed === undefined) throw new PurserError('ERR_DOCKER_UNAVAILABLE', 'what the container is cannot be known');
    return { workload: await workloadOf(listed, docker) };
  }

  async #root(): Promise<string | undefined> {
    this.#dockerRoot ??= (await this.#options.docker.info().catch(() => undefined))?.dockerRoot;
    return this.#dockerRoot;
  }
}

function emptyFile({ name, uid, gid, mode }: VolumeDefinition['files'][number]): SecretFile {
  return { name, kind: 'versioned', uid, gid, mode, version: 0, content: new Uint8Array(0) };
}

function place(definition: VolumeDefinition, destination: string, deliveries: readonly Delivery[]): { files: SecretFile[]; granted: GrantedFile[] } {
  const files: SecretFile[] = [];
  const granted = definition.files.map((file, index): GrantedFile => {
    const result = deliveries[index]!;
    const reference = parseReference(file.text);
    if (result.outcome !== 'absent') files.push({ ...emptyFile(file), version: result.version, content: bytesOfValue(result.value) });
    return {
      name: file.name, kind: result.outcome === 'absent' ? 'absent' : 'versioned', target: `${destination}/${file.name}`.slice(0, 4096),
      source: { type: 'reference', text: describeReference(reference) }, path: result.path, ...(result.field === undefined ? {} : { field: result.field }),
      version: result.version, isPinned: reference.version !== undefined,
    };
  });
  return { files, granted };
}

// Container start (DESIGN.md section 3): what the container is and declares → one resolve → its tree → the bundle. All or
// nothing: any reference that fails refuses the start with its reason, and whatever failed later leaves neither a tree nor
// a changed bundle behind. A container that declares nothing is let through without a question to the core.

import { stat } from 'node:fs/promises';
import type { Logger } from 'pino';
import { withDeadline } from '../lib/deadline.ts';
import { PurserError, isPurserError, messageOf } from '../lib/errors.ts';
import { dataSegmentHint, describeReference } from '../wire/reference.ts';
import type { ResolveResult, Workload } from '../wire/node-protocol.ts';
import { Bundle } from './bundle.ts';
import type { BundleMount } from './bundle.ts';
import { readContainerFacts } from './container-facts.ts';
import type { ContainerFacts } from './container-facts.ts';
import type { ContainerRecord } from './container-record.ts';
import type { Containers } from './containers.ts';
import type { CoreLink } from './core-link.ts';
import { isInSecretsDirectory, readDeclarations } from './declarations.ts';
import type { DeclaredFile } from './declarations.ts';
import type { DockerEngine } from './docker.ts';
import type { ContainerTree } from './fuse/plan.ts';
import type { Ledger } from './ledger.ts';
import { placeFiles } from './placement.ts';
import type { ContainerWish, Delivery, Placement } from './placement.ts';
import type { Rotation } from './rotation.ts';

export interface SecretTrees {
  add(tree: ContainerTree): Promise<void>;
  remove(id: string): Promise<void>;
}

export interface PrepareOptions {
  readonly trees: SecretTrees;
  readonly core: Pick<CoreLink, 'resolve'>;
  readonly docker: Pick<DockerEngine, 'listed'>;
  readonly containers: Pick<Containers, 'put'>;
  readonly rotation: Pick<Rotation, 'epoch' | 'admitted'>;
  readonly ledger: Pick<Ledger, 'granted'>;
  readonly log: Logger;
  /** The read-only bind of the filesystem: `<run-dir>/ro`. */
  readonly mountRoot: string;
  /** True while the core is known to be away: Swarm secrets then start with Docker's own value, without waiting. */
  readonly isCoreAway: () => boolean;
}

/** Docker's own `:ro` would drop nosuid, nodev and noexec. */
const MOUNT_OPTIONS = ['bind', 'ro', 'nosuid', 'nodev', 'noexec', 'rprivate'];

/** Without a reference in sight the runtime waits 5 s, then goes on by itself. */
const SWARM_MS = 3000;

type Facts = Pick<ContainerFacts, 'workload' | 'labels' | 'swarmSecrets'> & { readonly dockerRoot?: string };

export class Preparer {
  readonly #options: PrepareOptions;

  constructor(options: PrepareOptions) {
    this.#options = options;
  }

  /**
   * Prepares the container `id` whose bundle is at `directory`.
   * @throws the reason why it must not start, with the container's name in the message
   */
  async prepare(id: string, directory: string): Promise<void> {
    let name: string | undefined;
    try {
      const bundle = await Bundle.load(directory);
      const facts = await this.#facts(id, bundle);
      name = facts.workload.name;
      await this.#prepare(bundle, facts);
    } catch (error) {
      throw refusal(id, name, error);
    }
  }

  async #prepare(bundle: Bundle, facts: Facts): Promise<void> {
    const declared = readDeclarations({ labels: facts.labels, env: bundle.env.entries(), ...bundle.user, mountTargets: bundle.mounts.map(({ destination }) => destination) });
    if (declared.length === 0 && facts.swarmSecrets.length === 0) return;
    const { epoch } = this.#options.rotation;
    const wish = await this.#resolve(bundle, facts, declared);
    const placement = placeFiles(wish);
    if (placement.granted.length === 0) return;
    const record: ContainerRecord = {
      workload: facts.workload, grantedAt: Date.now(), files: placement.granted, overMounts: [],
      ...(facts.dockerRoot === undefined ? {} : { dockerRoot: facts.dockerRoot }),
    };
    await this.#install(bundle, facts.workload.id, placement);
    this.#options.containers.put(record);
    this.#options.ledger.granted(record);
    this.#options.rotation.admitted(record, epoch);
    this.#options.log.info({ container: facts.workload.name, id: facts.workload.id.slice(0, 12), secrets: record.files.length }, 'container prepared');
  }

  async #resolve(bundle: Bundle, { workload, swarmSecrets }: Facts, declared: readonly DeclaredFile[]): Promise<ContainerWish> {
    const answer = await this.#ask(workload, declared, swarmSecrets.map(({ secretName }) => secretName));
    const errors: PurserError[] = [];
    const files = declared.flatMap((file, index) => {
      const result = answer.results[index];
      if (isDelivery(result)) return [{ file, result }];
      errors.push(explain(file, result));
      return [];
    });
    const [first] = errors;
    if (first !== undefined) {
      throw errors.length === 1 ? first : new PurserError(first.code, `${first.message} (and ${errors.length - 1} more)`, first.hint === undefined ? {} : { hint: first.hint });
    }
    return {
      declared: files,
      swarm: swarmSecrets.flatMap((secret, index) => {
        const result = answer.swarm_secrets?.[index];
        if (result?.outcome === 'error') this.#options.log.warn({ container: workload.name, secret: secret.secretName, reason: result.message }, 'a Swarm secret cannot be followed; the task keeps the value Docker gave it');
        return isDelivery(result) ? [{ secret, result }] : [];
      }),
      mountsBelow: await mountsInSecretsDirectory(bundle.mounts),
      uidMappings: bundle.uidMappings, gidMappings: bundle.gidMappings,
    };
  }

  /** Swarm secrets alone never hold a container up: Docker has their values already. */
  async #ask(workload: Workload, declared: readonly DeclaredFile[], swarm: readonly string[]): Promise<{ results: readonly ResolveResult[]; swarm_secrets?: readonly ResolveResult[] | undefined }> {
    const isOnlySwarm = declared.length === 0;
    if (isOnlySwarm && this.#options.isCoreAway()) return { results: [] };
    const references = declared.map(({ text }) => text);
    const asked = this.#options.core.resolve({ workloads: [{ ...workload, references, ...(swarm.length === 0 ? {} : { swarm_secrets: [...swarm] }) }] });
    try {
      const { workloads: [answer] } = await (isOnlySwarm ? withDeadline(asked, SWARM_MS, () => new Error('the core takes too long')) : asked);
      return answer ?? { results: [] };
    } catch (error) {
      if (!isOnlySwarm) throw error;
      this.#options.log.warn({ container: workload.name, err: messageOf(error) }, 'the Swarm secrets of a task cannot be followed yet; it starts with the values Docker gave it');
      return { results: [] };
    }
  }

  async #install(bundle: Bundle, id: string, placement: Placement): Promise<void> {
    const root = `${this.#options.mountRoot}/${id}`;
    await this.#options.trees.add({ id, cgroupPath: bundle.cgroupPath, files: placement.files });
    try {
      for (const [destination, place] of placement.mounts) bundle.addMount({ destination, source: `${root}/${place}`, type: 'bind', options: MOUNT_OPTIONS });
      for (const [destination, place] of placement.swaps) bundle.replaceMountSource(destination, `${root}/${place}`);
      for (const [name, value] of placement.variables) bundle.env.set(name, value);
      await bundle.save();
    } catch (error) {
      await this.#options.trees.remove(id);
      throw error;
    } finally {
      for (const { content } of placement.files) content.fill(0);
    }
  }

  async #facts(id: string, bundle: Bundle): Promise<Facts> {
    let failure: Error | undefined;
    for (const dockerRoot of bundle.dockerRoots) {
      try {
        return { ...await readContainerFacts(dockerRoot, id), dockerRoot };
      } catch (error) {
        failure = error as Error;
      }
    }
    const listed = await this.#options.docker.listed(id).catch(() => undefined);
    if (listed !== undefined) return { ...listed, swarmSecrets: [] };
    // Docker's container, but its labels cannot be known: it may have asked for secrets.
    if (failure !== undefined) throw failure;
    return { workload: { id, name: id.slice(0, 12), image: '', labels: {} }, labels: {}, swarmSecrets: [] };
  }
}

function isDelivery(result: ResolveResult | undefined): result is Delivery {
  return result?.outcome === 'value' || result?.outcome === 'default' || result?.outcome === 'absent';
}

/** The container's own mounts directly in /run/secrets, which need something to be mounted on there. */
async function mountsInSecretsDirectory(mounts: readonly BundleMount[]): Promise<ContainerWish['mountsBelow']> {
  return Promise.all(mounts.filter(({ destination }) => isInSecretsDirectory(destination)).map(async ({ destination, source, type }) => {
    if (source === undefined || !source.startsWith('/')) return { destination, isDirectory: type !== 'bind' };
    return { destination, isDirectory: await stat(source).then((found) => found.isDirectory(), () => false) };
  }));
}

function explain(file: DeclaredFile, result: ResolveResult | undefined): PurserError {
  const shown = describeReference(file.reference);
  const { path } = file.reference;
  if (result?.outcome !== 'error') return new PurserError('ERR_CLIENT_PROTOCOL', `${shown}: the core gave no answer`);
  const message = `${shown}: ${result.message}`;
  switch (result.code) {
    case 'ERR_RESOLVE_DENIED':
      return new PurserError('ERR_RESOLVE_DENIED', message, { hint: `a workload role must match this container and allow read on ${path}, see purser workload list` });
    case 'ERR_RESOLVE_NOT_FOUND':
      return new PurserError('ERR_RESOLVE_NOT_FOUND', message, { hint: dataSegmentHint(file.reference) ?? `store it with purser kv put ${path}, or add ?optional or ?default=…` });
    case 'ERR_RESOLVE_FIELD':
      return new PurserError('ERR_RESOLVE_FIELD', message, { hint: `purser kv get ${path} shows the fields` });
    default:
      return new PurserError('ERR_RESOLVE_FAILED', message, { hint: 'see the log of the core' });
  }
}

/** `purser: container web (3f2a91c07b1d): …`, as Docker shows it to whoever started the container. */
export function refusal(id: string, name: string | undefined, error: unknown): PurserError {
  const shown = name === undefined || name === id.slice(0, 12) ? id.slice(0, 12) : `${name} (${id.slice(0, 12)})`;
  // What is not ours may quote anything.
  const reason = isPurserError(error) ? error.message : 'the agent failed, see its log';
  const hint = isPurserError(error) ? error.hint : undefined;
  return new PurserError(isPurserError(error) ? error.code : 'ERR_RUNTIME_BUNDLE', `purser: container ${shown}: ${reason}`, { cause: error, ...(hint === undefined ? {} : { hint }) });
}


// Container start (DESIGN.md section 3): what the container is and declares → one resolve → its tree → the bundle. All or
// nothing: any reference that fails refuses the start with its reason, and whatever failed later leaves neither a tree nor
// a changed bundle behind. A container that declares nothing is let through without a question to the core.

import { stat } from 'node:fs/promises';
import type { Logger } from 'pino';
import { withDeadline } from '../lib/deadline.ts';
import { PurserError, isPurserError, messageOf } from '../lib/errors.ts';
import { formatReference } from '../wire/reference.ts';
import type { Reference } from '../wire/reference.ts';
import { MAX_REFERENCES } from '../wire/node-protocol.ts';
import type { ResolveResult, Workload } from '../wire/node-protocol.ts';
import { Bundle } from './bundle.ts';
import type { BundleMount } from './bundle.ts';
import { readContainerFacts } from './container-facts.ts';
import type { ContainerFacts } from './container-facts.ts';
import { workloadOf } from './workload.ts';
import type { ContainerRecord } from './container-record.ts';
import type { Containers } from './containers.ts';
import type { CoreLink } from './core-link.ts';
import { isInSecretsDirectory, readDeclarations } from './declarations.ts';
import type { DeclaredTemplate, Declarations } from './declarations.ts';
import type { DockerEngine } from './docker.ts';
import type { EnvironmentMarkers } from './environment-markers.ts';
import { eraseRendered, isVariableTarget, referencesOf, renderVariables } from './environment-variables.ts';
import type { EnvironmentMode } from './environment-variables.ts';
import type { ContainerTree } from './fuse/plan.ts';
import type { DeclaredIdentity } from './identity-declaration.ts';
import type { IdentityRefresh } from './identity-refresh.ts';
import type { Ledger } from './ledger.ts';
import { placeFiles } from './placement.ts';
import type { ContainerWish, Placement } from './placement.ts';
import { explainOutcome, firstOf, isDelivery } from './resolve-outcome.ts';
import type { Rotation } from './rotation.ts';
import { openTemplates, renderAnswers, templateReferences } from './template-files.ts';
import type { OpenTemplate } from './template-files.ts';
import type { Warden } from './warden.ts';
import { bytesOfValue } from '../lib/secret-bytes.ts';

export interface SecretTrees {
  add(tree: ContainerTree): Promise<void>;
  remove(id: string): Promise<void>;
}

export interface PrepareOptions {
  readonly trees: SecretTrees;
  readonly core: Pick<CoreLink, 'resolve' | 'identity'>;
  readonly docker: Pick<DockerEngine, 'listed' | 'imageLabels'>;
  readonly containers: Pick<Containers, 'put' | 'stored'>;
  readonly rotation: Pick<Rotation, 'epoch' | 'admitted'>;
  readonly ledger: Pick<Ledger, 'granted'>;
  readonly identities: Pick<IdentityRefresh, 'wake'>;
  readonly log: Logger;
  /** The read-only bind of the filesystem: `<run-dir>/ro`. */
  readonly mountRoot: string;
  readonly markers: Pick<EnvironmentMarkers, 'put' | 'remove'>;
  readonly warden: Pick<Warden, 'ensure' | 'listenerPath'>;
  /** What references in variables become when no label says so. */
  readonly environment: EnvironmentMode;
  /** True while the core is known to be away: Swarm secrets then start with Docker's own value, without waiting. */
  readonly isCoreAway: () => boolean;
}

/** Docker's own `:ro` would drop nosuid, nodev and noexec. */
const MOUNT_OPTIONS = ['bind', 'ro', 'nosuid', 'nodev', 'noexec', 'rprivate'];

/** Without a reference in sight the runtime waits 5 s, then goes on by itself. */
const SWARM_MS = 3000;

type Facts = Pick<ContainerFacts, 'container' | 'swarmSecrets'> & { readonly dockerRoot?: string };

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
      name = facts.container.name.replace(/^\//, '');
      await this.#prepare(bundle, directory, facts);
    } catch (error) {
      throw refusal(id, name, error);
    }
  }

  async #prepare(bundle: Bundle, directory: string, facts: Facts): Promise<void> {
    const { environment, docker } = this.#options;
    const { container: { labels }, swarmSecrets, dockerRoot } = facts;
    const declared = readDeclarations({ labels, env: bundle.env.entries(), ...bundle.user, mountTargets: bundle.mounts.map(({ destination }) => destination), environment });
    if (declared.files.length + declared.templates.length + declared.variables.length === 0 && declared.identity === undefined && swarmSecrets.length === 0) return;
    const { epoch } = this.#options.rotation;
    const workload = await workloadOf(facts.container, docker);
    const wish = await this.#resolve(bundle, workload, swarmSecrets, declared);
    checkVariables(declared, wish);
    const placement = placeFiles(wish);
    if (placement.granted.length === 0 && placement.variables.size === 0) return;
    const isStrict = declared.isStrict && hasVariables(placement);
    const record: ContainerRecord = {
      workload, grantedAt: Date.now(), files: placement.granted, overMounts: [],
      ...(declared.onRotate === undefined ? {} : { onRotate: declared.onRotate }),
      ...(isStrict ? { isStrict } : {}),
      ...(dockerRoot === undefined ? {} : { dockerRoot }),
    };
    await this.#install(bundle, directory, workload.id, placement, isStrict);
    if (placement.granted.length === 0) return;
    this.#options.containers.put(record);
    this.#options.ledger.granted(record);
    this.#options.rotation.admitted(record, epoch);
    this.#options.identities.wake();
    // The start that follows needs the record, also from another agent.
    if (hasVariables(placement)) await this.#options.containers.stored(workload.id);
    this.#options.log.info({ container: workload.name, id: workload.id.slice(0, 12), secrets: record.files.length }, 'container prepared');
  }

  async #resolve(bundle: Bundle, workload: Workload, swarmSecrets: Facts['swarmSecrets'], declared: Declarations): Promise<ContainerWish> {
    const variables = referencesOf(declared.variables);
    const opened = await this.#open(workload, declared.templates);
    const references = [
      ...declared.files.map(({ text }) => text), ...variables.map(({ reference }) => formatReference(reference)), ...opened.flatMap(({ template }) => templateReferences(template)),
    ];
    if (references.length > MAX_REFERENCES) throw new PurserError('ERR_WORKLOAD_INVALID', `${references.length} references are declared, the limit is ${MAX_REFERENCES}`, { hint: 'name a whole secret in a template instead of each of its fields' });
    const [answer, identity] = await Promise.all([
      this.#ask(workload, references, swarmSecrets.map(({ secretName }) => secretName)),
      declared.identity && this.#askIdentity(workload, declared.identity),
    ]);
    const errors: PurserError[] = [];
    const delivered = <T extends { readonly reference: Reference }>(wanted: readonly T[], offset: number) => wanted.flatMap((one, index) => {
      const result = answer.results[offset + index];
      if (isDelivery(result)) return [{ wanted: one, result }];
      errors.push(explainOutcome(one.reference, result));
      return [];
    });
    const files = delivered(declared.files, 0).map(({ wanted, result }) => ({ file: wanted, result }));
    const environment = delivered(variables, declared.files.length);
    let offset = declared.files.length + variables.length;
    const templates = opened.flatMap(({ file, template }) => {
      const from = offset;
      offset += template.template.secrets.length;
      try {
        return [{ file, rendering: renderAnswers(template, answer.results.slice(from, offset)) }];
      } catch (error) {
        if (!isPurserError(error)) throw error;
        errors.push(error);
        return [];
      }
    });
    const first = firstOf(errors);
    if (first !== undefined) throw first;
    return {
      declared: files, templates, environment, variables: declared.variables, identity,
      swarm: swarmSecrets.flatMap((secret, index) => {
        const result = answer.swarm_secrets?.[index];
        if (result?.outcome === 'error') this.#options.log.warn({ container: workload.name, secret: secret.secretName, reason: result.message }, 'a Swarm secret cannot be followed; the task keeps the value Docker gave it');
        return isDelivery(result) ? [{ secret, result }] : [];
      }),
      mountsBelow: await mountsInSecretsDirectory(bundle.mounts),
      uidMappings: bundle.uidMappings, gidMappings: bundle.gidMappings,
    };
  }

  /** Texts of templates that are in the core, before anything else: they name what else to ask for. */
  async #open(workload: Workload, templates: readonly DeclaredTemplate[]): Promise<{ readonly file: DeclaredTemplate; readonly template: OpenTemplate }[]> {
    const sources = templates.map(({ origin, source }) => ({ origin, text: 'text' in source ? { inline: source.text } : { reference: formatReference(source.reference) } }));
    const [opened = []] = await openTemplates(this.#options.core, [{ workload, sources }]);
    const first = firstOf(opened.filter((one) => one instanceof PurserError));
    if (first !== undefined) throw first;
    return templates.map((file, index) => ({ file, template: opened[index] as OpenTemplate }));
  }

  /** Swarm secrets alone never hold a container up: Docker has their values already. */
  async #ask(workload: Workload, references: readonly string[], swarm: readonly string[]): Promise<{ results: readonly ResolveResult[]; swarm_secrets?: readonly ResolveResult[] | undefined }> {
    const isOnlySwarm = references.length === 0;
    if (isOnlySwarm && (swarm.length === 0 || this.#options.isCoreAway())) return { results: [] };
    const asked = this.#options.core.resolve({ workloads: [{ ...workload, references: [...references], ...(swarm.length === 0 ? {} : { swarm_secrets: [...swarm] }) }] });
    try {
      const { workloads: [answer] } = await (isOnlySwarm ? withDeadline(asked, SWARM_MS, () => new Error('the core takes too long')) : asked);
      return answer ?? { results: [] };
    } catch (error) {
      if (!isOnlySwarm) throw error;
      this.#options.log.warn({ container: workload.name, err: messageOf(error) }, 'the Swarm secrets of a task cannot be followed yet; it starts with the values Docker gave it');
      return { results: [] };
    }
  }

  async #askIdentity(workload: Workload, declared: DeclaredIdentity): Promise<ContainerWish['identity']> {
    const [result] = await this.#options.core.identity({ workloads: [{ ...workload, audiences: [...declared.audiences] }] });
    if (result?.outcome === 'value') return { declared, token: result.token, ttl: result.ttl };
    throw new PurserError('ERR_RESOLVE_DENIED', `${declared.origin}: ${result?.message ?? 'the core gave no answer'}`,
      { hint: 'a workload role that matches this container must allow it: purser workload write … --identity-audience' });
  }

  async #install(bundle: Bundle, directory: string, id: string, placement: Placement, isStrict: boolean): Promise<void> {
    const root = `${this.#options.mountRoot}/${id}`;
    if (placement.files.length > 0) await this.#options.trees.add({ id, cgroupPath: bundle.cgroupPath, files: placement.files });
    try {
      if (isStrict) {
        bundle.notifyOfExecs(this.#options.warden.listenerPath);
        await this.#options.warden.ensure();
      }
      for (const [destination, place] of placement.mounts) bundle.addMount({ destination, source: `${root}/${place}`, type: 'bind', options: MOUNT_OPTIONS });
      for (const [destination, place] of placement.swaps) bundle.replaceMountSource(destination, `${root}/${place}`);
      for (const [name, value] of placement.variables) if (value === undefined) bundle.env.delete(name); else bundle.env.set(name, value);
      if (isStrict || placement.mounts.size + placement.swaps.size + placement.variables.size > 0) await bundle.save();
      if (hasVariables(placement)) await this.#options.markers.put(id, directory);
    } catch (error) {
      await this.#options.markers.remove(id);
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
    if (listed !== undefined) return { container: listed, swarmSecrets: [] };
    // Docker's container, but its labels cannot be known: it may have asked for secrets.
    if (failure !== undefined) throw failure;
    return { container: { id, name: id.slice(0, 12), image: '', labels: {} }, swarmSecrets: [] };
  }
}

/** The variables are rendered once before the start, so that one that cannot be is refused here; then they are forgotten. */
function checkVariables({ variables }: Declarations, { environment }: ContainerWish): void {
  const contents = new Map(environment.map(({ wanted, result }) => [`${wanted.variable}\0${formatReference(wanted.reference)}`, result.outcome === 'absent' ? undefined : bytesOfValue(result.value)]));
  try {
    eraseRendered(renderVariables(variables, ({ variable, reference }) => contents.get(`${variable}\0${formatReference(reference)}`)));
  } finally {
    for (const content of contents.values()) content?.fill(0);
  }
}

function hasVariables({ granted }: Placement): boolean {
  return granted.some(({ target }) => isVariableTarget(target));
}

/** The container's own mounts directly in /run/secrets, which need something to be mounted on there. */
async function mountsInSecretsDirectory(mounts: readonly BundleMount[]): Promise<ContainerWish['mountsBelow']> {
  return Promise.all(mounts.filter(({ destination }) => isInSecretsDirectory(destination)).map(async ({ destination, source, type }) => {
    if (source === undefined || !source.startsWith('/')) return { destination, isDirectory: type !== 'bind' };
    return { destination, isDirectory: await stat(source).then((found) => found.isDirectory(), () => false) };
  }));
}

/** `purser: container web (3f2a91c07b1d): …`, as Docker shows it to whoever started the container. */
export function refusal(id: string, name: string | undefined, error: unknown): PurserError {
  const shown = name === undefined || name === id.slice(0, 12) ? id.slice(0, 12) : `${name} (${id.slice(0, 12)})`;
  // What is not ours may quote anything.
  const reason = isPurserError(error) ? error.message : 'the agent failed, see its log';
  const hint = isPurserError(error) ? error.hint : undefined;
  return new PurserError(isPurserError(error) ? error.code : 'ERR_RUNTIME_BUNDLE', `purser: container ${shown}: ${reason}`, { cause: error, ...(hint === undefined ? {} : { hint }) });
}


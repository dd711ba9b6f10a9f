// What the processes of a container see in their variables: the main process what was resolved at create, later ones (docker exec,
// HEALTHCHECK) the current values. The values lie with the container's files in the filesystem's log and rotate with them, so
// an exec costs no question to the core, and a core that is away takes nothing from a running container.

import type { Logger } from 'pino';
import { withDeadline } from '../lib/deadline.ts';
import { PurserError, messageOf } from '../lib/errors.ts';
import { bytesOfValue } from '../lib/secret-bytes.ts';
import { formatReference } from '../wire/reference.ts';
import type { Reference } from '../wire/reference.ts';
import type { ResolveResult } from '../wire/node-protocol.ts';
import { MAX_REFERENCES_BYTES, encodeEnvironment } from '../wire/shim-protocol.ts';
import type { ProcessEnvironment } from '../wire/shim-protocol.ts';
import { isTemplate } from '../wire/template.ts';
import { Bundle } from './bundle.ts';
import type { ProcessFile } from './bundle.ts';
import type { ContainerRecord, GrantedFile } from './container-record.ts';
import type { CoreLink } from './core-link.ts';
import { eraseRendered, isVariableTarget, readVariables, referencesOf, renderVariables } from './environment-variables.ts';
import type { DeclaredVariable, RenderedVariable, Variable, VariableReference } from './environment-variables.ts';
import { execVariables, grantOf } from './exec-variables.ts';
import type { HiddenValue } from './fuse/messages.ts';
import { explainOutcome, firstOf, isDelivery } from './resolve-outcome.ts';
import type { Warden } from './warden.ts';

export interface EnvironmentOptions {
  readonly trees: { values(id: string): Promise<readonly HiddenValue[]> };
  readonly core: Pick<CoreLink, 'resolve'>;
  readonly rotation: { caughtUp(id: string): Promise<void> };
  /** True while the core is known to be away: then what is held may be old. */
  readonly isCoreAway: () => boolean;
  readonly warden: Pick<Warden, 'ensure'>;
  readonly log: Logger;
}

/** Milliseconds that an exec waits for something newer than what is held. */
const FRESH_MS = 1000;

/** A reference with the grant that the container got for it at its start. */
interface Wanted extends VariableReference {
  readonly grant: GrantedFile;
}

/** What is delivered, and which version the container holds of each hidden file. */
export interface StartEnvironment {
  readonly body: ProcessEnvironment;
  readonly versions: ReadonlyMap<string, number>;
}

export class Environment {
  readonly #options: EnvironmentOptions;

  constructor(options: EnvironmentOptions) {
    this.#options = options;
  }

  /**
   * The variables for the main process, as granted at create.
   * @param directory the bundle, whose config.json has the references
   * @throws the reason why they cannot be had
   */
  async ofStart(record: ContainerRecord, directory: string): Promise<StartEnvironment> {
    const granted = new Set(record.files.filter(({ target }) => isVariableTarget(target)).map(({ variable }) => variable));
    // Others have lost their escape at create and would be read again as what they escaped.
    const env = (await Bundle.load(directory)).env.entries();
    const variables = readVariables(env.filter(([name]) => granted.has(name)));
    const held = await this.#options.trees.values(record.workload.id);
    try {
      const versions = new Map(held.map(({ name, version }) => [name, version]));
      return { body: await this.#body(record, env, variables, held, ({ grant }) => grant.kind === 'hidden' && !versions.has(grant.name)), versions };
    } finally {
      erase(held);
    }
  }

  /**
   * The variables for a process that is started in a running container; edits those of `file` that hold no value.
   * @returns undefined when none has a value
   * @throws ERR_WORKLOAD_INVALID for a reference that the container did not declare at its start
   */
  async ofExec(record: ContainerRecord | undefined, file: ProcessFile): Promise<ProcessEnvironment | undefined> {
    const env = file.env.entries();
    if (!env.some(([, text]) => isTemplate(text))) return undefined;
    const { edits, variables } = execVariables(env, record?.files ?? []);
    // runc starts nothing in such a container without it.
    if (record?.isStrict === true) await this.#options.warden.ensure();
    // Read before anything is written: a refusal leaves the file as it was.
    const body = record === undefined || variables.length === 0 ? undefined : await this.#current(record, env, variables);
    for (const [name, value] of edits) if (value === undefined) file.env.delete(name); else file.env.set(name, value);
    if (edits.size > 0) await file.save();
    return body;
  }

  async #current(record: ContainerRecord, env: readonly Variable[], variables: readonly DeclaredVariable[]): Promise<ProcessEnvironment> {
    const isAway = this.#options.isCoreAway();
    // A rotation that is known and under way counts as done.
    if (!isAway) await withDeadline(this.#options.rotation.caughtUp(record.workload.id), FRESH_MS, late).catch(() => undefined);
    const held = await this.#options.trees.values(record.workload.id);
    try {
      const names = new Set(held.map(({ name }) => name));
      return await this.#body(record, env, variables, held, ({ grant }) => isAway || !names.has(grant.name));
    } finally {
      erase(held);
    }
  }

  async #body(record: ContainerRecord, env: readonly Variable[], variables: readonly DeclaredVariable[], held: readonly HiddenValue[], mustAsk: (wanted: Wanted) => boolean): Promise<ProcessEnvironment> {
    const wanted = referencesOf(variables).map((one) => ({ ...one, grant: grantOf(record.files, one.variable, one.reference) }));
    const contents = new Map(held.map(({ name, content }) => [name, content]));
    const isHeld = ({ grant }: Wanted): boolean => grant.kind !== 'hidden' || contents.has(grant.name);
    const fresh = await this.#ask(record, wanted.filter(mustAsk), isHeld);
    const rendered = renderVariables(variables, ({ variable, reference }) => {
      const asked = fresh.get(keyOf(variable, reference));
      if (asked !== undefined) return asked.content;
      const grant = grantOf(record.files, variable, reference);
      return contents.get(grant.name) ?? (reference.default === undefined ? undefined : Buffer.from(reference.default));
    });
    try {
      return { values: encodeEnvironment(rendered), references: record.isStrict === true ? referencesFor(rendered, env) : undefined };
    } finally {
      eraseRendered(rendered);
      for (const { content } of fresh.values()) content?.fill(0);
    }
  }

  /** What the core says now; a container keeps what it holds of anything that the core denies, lacks or cannot answer. */
  async #ask(record: ContainerRecord, wanted: readonly Wanted[], isHeld: (wanted: Wanted) => boolean): Promise<Map<string, { readonly content: Uint8Array | undefined }>> {
    const fresh = new Map<string, { content: Uint8Array | undefined }>();
    if (wanted.length === 0) return fresh;
    const results = await this.#resolve(record, wanted, wanted.every(isHeld));
    const errors: PurserError[] = [];
    wanted.forEach((one, index) => {
      const result = results[index];
      if (result?.outcome === 'value' || result?.outcome === 'default') fresh.set(keyOf(one.variable, one.reference), { content: bytesOfValue(result.value) });
      else if (isHeld(one)) return;
      else if (isDelivery(result)) fresh.set(keyOf(one.variable, one.reference), { content: undefined });
      else errors.push(explainOutcome(one.reference, result));
    });
    const first = firstOf(errors);
    if (first !== undefined) throw first;
    return fresh;
  }

  async #resolve({ workload }: ContainerRecord, wanted: readonly Wanted[], isOptional: boolean): Promise<readonly ResolveResult[]> {
    const answer = this.#options.core.resolve({ workloads: [{ ...workload, references: wanted.map(({ reference }) => formatReference(reference)) }] });
    try {
      const { workloads: [results] } = await (isOptional ? withDeadline(answer, FRESH_MS, late) : answer);
      return results?.results ?? [];
    } catch (error) {
      if (!isOptional) throw error;
      this.#options.log.warn({ container: workload.name, err: messageOf(error) }, 'the core cannot say whether variables changed; a process gets the values that the container holds');
      return [];
    }
  }
}

/** The texts of the delivered variables as Docker knows them. @throws ERR_WORKLOAD_INVALID when there is too much of them */
function referencesFor(rendered: readonly RenderedVariable[], env: readonly Variable[]): Uint8Array | undefined {
  const delivered = new Set(rendered.flatMap(([name, value]) => value === undefined ? [] : [name]));
  if (delivered.size === 0) return undefined;
  // getenv(3) gives the first, which readVariables() has read.
  const texts = env.filter(([name], index) => delivered.has(name) && env.findIndex(([other]) => other === name) === index);
  const references = encodeEnvironment(texts.map(([name, text]) => [name, Buffer.from(text)]));
  if (references.length <= MAX_REFERENCES_BYTES) return references;
  throw new PurserError('ERR_WORKLOAD_INVALID', `label purser.env: strict takes at most ${MAX_REFERENCES_BYTES} bytes of references in variables`, { hint: 'use purser.env=files-only' });
}

function keyOf(variable: string, reference: Reference): string {
  return `${variable}\0${formatReference(reference)}`;
}

function erase(held: readonly HiddenValue[]): void {
  for (const { content } of held) content.fill(0);
}

function late(): PurserError {
  return new PurserError('ERR_CLIENT_UNREACHABLE', 'the core takes too long', { hint: 'see the log of the core' });
}

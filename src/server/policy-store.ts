// The named policies: kept in the barrier as the operator wrote them, parsed once, and compiled to one ACL per set of names.
// All are in memory while the core is unsealed, so a request never waits for storage to be decided; a change is put into a
// compiled ACL before that is asked again.

import { z } from 'zod';
import type { View } from '../core/view.ts';
import { PurserError } from '../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../lib/json-record.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { Acl } from '../policy/acl.ts';
import { BUILT_IN_POLICIES } from '../policy/built-in.ts';
import { parsePolicy } from '../policy/parse.ts';
import type { TemplateSubject } from '../policy/path-template.ts';
import { PolicySet } from '../policy/policy-set.ts';
import type { Policy } from '../policy/policy.ts';

/** Distinct sets of policies; beyond it all are dropped, since token holders choose their subsets freely. */
const MAX_COMPILED = 1_000;
const MAX_NAME_LENGTH = 128;
/** Other requests are served after so many milliseconds of compiling. */
const TURN_MILLISECONDS = 5;

const recordSchema = z.strictObject({ v: z.literal(1), text: z.string() });

/** The set of one list of names, and how many changes of policies it has seen. */
interface Compiled {
  readonly set: PolicySet;
  readonly names: readonly string[];
  generation: number;
}

export class PolicyStore {
  readonly #view: View;
  readonly #policies: Map<string, Policy>;
  readonly #compiled = new Map<string, Compiled>();
  readonly #compiling = new Map<string, Promise<void>>();
  /** The same by the list itself: that of a token is one object for many requests. */
  readonly #byList = new WeakMap<readonly string[], Compiled>();
  /** Counts changes of policies. */
  #generation = 0;
  readonly #lock = new KeyedLock();
  readonly #onChange: () => void;

  private constructor(view: View, policies: Map<string, Policy>, onChange: () => void) {
    this.#view = view;
    this.#policies = policies;
    this.#onChange = onChange;
  }

  /**
   * Reads all stored policies.
   * @param onChange told of every change once it is in force, before it is acknowledged
   * @throws when one of them does not parse: to skip it could grant too much
   */
  static async open(view: View, onChange: () => void = () => undefined): Promise<PolicyStore> {
    const policies = new Map([...BUILT_IN_POLICIES].map(([name, { policy }]) => [name, policy]));
    for (const name of await view.list('')) {
      const bytes = await view.get(name);
      if (bytes !== undefined) policies.set(name, parsePolicy(name, decodeRecord(bytes, recordSchema, 'policy').text));
    }
    return new PolicyStore(view, policies, onChange);
  }

  /** Names that operators see, sorted. */
  names(): string[] {
    return [...this.#policies.keys()].filter((name) => BUILT_IN_POLICIES.get(name)?.isInternal !== true).sort();
  }

  has(name: string): boolean {
    return this.#policies.has(name);
  }

  /** The policy as it was written; undefined when there is none that operators may see. */
  read(name: string): Policy | undefined {
    const canonical = name.toLowerCase();
    return BUILT_IN_POLICIES.get(canonical)?.isInternal === true ? undefined : this.#policies.get(canonical);
  }

  /**
   * Stores a policy under the lower-case form of `name`.
   * @throws ERR_REQUEST_INVALID for a name that cannot be used, ERR_POLICY_SYNTAX when `text` does not parse
   */
  async write(name: string, text: string): Promise<void> {
    const canonical = checkName(name);
    if (BUILT_IN_POLICIES.get(canonical)?.isImmutable === true) throw refused(`cannot update "${canonical}" policy`);
    const policy = parsePolicy(canonical, text);
    await this.#change(canonical, () => this.#view.put(canonical, encodeRecord({ v: 1, text })), policy);
  }

  /** Removes a policy; tokens that carry its name lose what it granted at once. @throws ERR_REQUEST_INVALID for a built-in one */
  async delete(name: string): Promise<void> {
    const canonical = checkName(name);
    if (BUILT_IN_POLICIES.has(canonical)) throw refused(`cannot delete "${canonical}" policy`);
    if (this.#policies.has(canonical)) await this.#change(canonical, () => this.#view.delete(canonical), undefined);
  }

  /**
   * The ACL of a set of policies; names without a policy grant nothing.
   * @param subject whom templates speak of; without one they grant nothing
   */
  acl(names: readonly string[], subject?: TemplateSubject): Acl {
    const compiled = this.#find(names) ?? this.#keep(names, { set: new PolicySet(), names, generation: -1 });
    this.#catchUp(compiled);
    return compiled.set.for(subject);
  }

  /** True when acl() of these names has little to do. */
  isCompiled(names: readonly string[]): boolean {
    return this.#find(names) !== undefined;
  }

  /** Compiles a set that was not asked for yet, in pieces between which other requests run. */
  async compile(names: readonly string[]): Promise<void> {
    const key = names.join();
    let compiling = this.#compiling.get(key);
    if (compiling === undefined) this.#compiling.set(key, compiling = this.#compile(names).finally(() => { this.#compiling.delete(key); }));
    await compiling;
  }

  async #compile(names: readonly string[]): Promise<void> {
    const compiled = { set: new PolicySet(), names, generation: this.#generation };
    let began = performance.now();
    for (const name of names) {
      compiled.set.set(name, this.#policies.get(name));
      if (performance.now() - began < TURN_MILLISECONDS) continue;
      await new Promise(setImmediate);
      began = performance.now();
    }
    this.#keep(names, compiled);
  }

  #find(names: readonly string[]): Compiled | undefined {
    let compiled = this.#byList.get(names);
    if (compiled === undefined) {
      compiled = this.#compiled.get(names.join());
      if (compiled !== undefined) this.#byList.set(names, compiled);
    }
    return compiled;
  }

  #keep(names: readonly string[], compiled: Compiled): Compiled {
    if (this.#compiled.size >= MAX_COMPILED) this.#compiled.clear();
    this.#compiled.set(names.join(), compiled); // no name has a comma
    this.#byList.set(names, compiled);
    return compiled;
  }

  /** Puts the policies that changed since into a set, all at once: nobody sees some of them changed. */
  #catchUp(compiled: Compiled): void {
    if (compiled.generation === this.#generation) return;
    for (const name of compiled.names) compiled.set.set(name, this.#policies.get(name));
    compiled.generation = this.#generation;
  }

  /** Storage first: what is in force is never ahead of what a restart would find. */
  #change(name: string, store: () => Promise<void>, policy: Policy | undefined): Promise<void> {
    return this.#lock.run(name, async () => {
      await store();
      if (policy === undefined) this.#policies.delete(name);
      else this.#policies.set(name, policy);
      this.#generation++;
      this.#onChange();
    });
  }
}

function checkName(name: string): string {
  const canonical = name.normalize('NFKC').toLowerCase();
  if (canonical.length > MAX_NAME_LENGTH || !/^[^\s/,*]+$/u.test(canonical) || /[\p{C}\p{Z}]/u.test(canonical)) {
    throw refused('a policy name is 1 to 128 characters without blanks, slashes, commas and stars');
  }
  return canonical;
}

function refused(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}

// The environment of an OCI process: `NAME=value` strings in order. Docker writes every name once; should a name come twice, programs
// disagree about which one counts, so setting it leaves one.

import { arrayOf, stringOf } from './bundle-document.ts';
import type { LosslessObject } from '../lib/lossless-json.ts';

export class EnvList {
  readonly #process: LosslessObject;

  /**
   * @param process an OCI process object; its `env` is edited in place
   * @throws ERR_RUNTIME_BUNDLE when `env` is no array of strings
   */
  constructor(process: LosslessObject) {
    this.#process = process;
    this.#list();
  }

  /** Name and value of every variable, in order. Strings without "=" set nothing and are left out. */
  entries(): readonly (readonly [name: string, value: string])[] {
    return this.#list().filter((entry) => entry.includes('=')).map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]);
  }

  /** The value that getenv(3) gives: the first. */
  get(name: string): string | undefined {
    return this.entries().find(([known]) => known === name)?.[1];
  }

  /** Sets a variable at its place, or at the end. */
  set(name: string, value: string): void {
    const list = this.#list();
    const first = list.findIndex((entry) => entry.startsWith(`${name}=`));
    const others = list.filter((entry, index) => index === first || !entry.startsWith(`${name}=`));
    if (first === -1) others.push(`${name}=${value}`);
    else others[first] = `${name}=${value}`;
    this.#process.set('env', others);
  }

  /** Removes a variable, however often it is there. */
  delete(name: string): void {
    this.#process.set('env', this.#list().filter((entry) => !entry.startsWith(`${name}=`)));
  }

  #list(): string[] {
    return arrayOf(this.#process.get('env'), 'process.env').map((entry) => stringOf(entry, 'process.env'));
  }
}

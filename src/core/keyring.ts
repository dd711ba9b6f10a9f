// The keyring (FORMAT.md section 3): the root key and one data key per term. Keys go in at creation or opening and never come
// out again; callers hand over plaintext and get records. The highest term encrypts, every term decrypts.

import { KEY_BYTES } from '../crypto/aead.ts';
import { randomBytes } from '../crypto/random.ts';
import { bytesFromBase64, constantTimeEqual, utf8, wipe } from '../lib/bytes.ts';
import { PurserError } from '../lib/errors.ts';
import { ROOT_TERM, openRecord, sealRecord, termOf } from './record.ts';
import { encodeSealConfig, parseSealConfig } from './seal-config.ts';
import type { SealConfig } from './seal-config.ts';

export const KEYRING_PATH = 'core/keyring';

interface Term {
  readonly key: Uint8Array;
  readonly createdTime: string;
}

export class Keyring {
  readonly sealConfig: SealConfig;
  readonly #rootKey: Uint8Array;
  /** Index i holds term i + 1. */
  readonly #terms: readonly Term[];

  private constructor(rootKey: Uint8Array, sealConfig: SealConfig, terms: readonly Term[]) {
    this.#rootKey = rootKey;
    this.sealConfig = sealConfig;
    this.#terms = terms;
  }

  /** A keyring with a first term. It copies `rootKey`. */
  static create(rootKey: Uint8Array, sealConfig: SealConfig): Keyring {
    return new Keyring(Uint8Array.from(rootKey), sealConfig, [newTerm()]);
  }

  /**
   * Opens the stored keyring. It copies `rootKey`.
   * @throws ERR_BARRIER_OPEN when the root key is wrong or the record was altered; ERR_STATE_CORRUPT when its content is not a keyring
   */
  static open(record: Uint8Array, rootKey: Uint8Array): Keyring {
    const plaintext = openRecord(KEYRING_PATH, (term) => term === ROOT_TERM ? rootKey : undefined, record);
    try {
      const { sealConfig, terms } = parseKeyring(plaintext);
      return new Keyring(Uint8Array.from(rootKey), sealConfig, terms);
    } finally {
      wipe(plaintext);
    }
  }

  get activeTerm(): number {
    return this.#terms.length;
  }

  get activeCreatedTime(): string {
    return this.#terms.at(-1)!.createdTime;
  }

  /** This keyring and one more term. Both share their key bytes: wiping the new one wipes the old one too. */
  withNewTerm(): Keyring {
    return new Keyring(this.#rootKey, this.sealConfig, [...this.#terms, newTerm()]);
  }

  /** This keyring under another root key, which it copies, and another split of it. Both share the bytes of their data keys. */
  withRootKey(rootKey: Uint8Array, sealConfig: SealConfig): Keyring {
    return new Keyring(Uint8Array.from(rootKey), sealConfig, this.#terms);
  }

  /** Compares in constant time. */
  hasRootKey(candidate: Uint8Array): boolean {
    return constantTimeEqual(this.#rootKey, candidate);
  }

  /** The record to store at KEYRING_PATH. */
  toRecord(): Uint8Array {
    const terms = this.#terms.map(({ key, createdTime }, index) => ({
      term: index + 1, key: Buffer.from(key).toString('base64'), createdTime,
    }));
    const plaintext = utf8(`{"version":1,"sealConfig":${encodeSealConfig(this.sealConfig)},"terms":${JSON.stringify(terms)}}`);
    try {
      return sealRecord(KEYRING_PATH, ROOT_TERM, this.#rootKey, plaintext);
    } finally {
      wipe(plaintext);
    }
  }

  encrypt(path: string, plaintext: Uint8Array): Uint8Array {
    return sealRecord(path, this.activeTerm, this.#terms.at(-1)!.key, plaintext);
  }

  /** @throws ERR_BARRIER_OPEN */
  decrypt(path: string, record: Uint8Array): Uint8Array {
    return openRecord(path, (term) => this.#terms[term - 1]?.key, record);
  }

  /** True for a record under the active term, by its header. */
  isCurrent(record: Uint8Array): boolean {
    return termOf(record) === this.activeTerm;
  }

  /** Overwrites the root key alone: this keyring was replaced by one withRootKey(). */
  wipeRootKey(): void {
    wipe(this.#rootKey);
  }

  /** Overwrites every key. The keyring is unusable afterwards. */
  wipe(): void {
    wipe(this.#rootKey, ...this.#terms.map(({ key }) => key));
  }
}

function newTerm(): Term {
  return { key: randomBytes(KEY_BYTES), createdTime: new Date().toISOString() };
}

/** Strict although authenticated: a keyring that is not understood whole must not be half used. */
function parseKeyring(plaintext: Uint8Array): { sealConfig: SealConfig; terms: Term[] } {
  const { version, sealConfig, terms, ...rest } = parseObject(plaintext);
  const config = parseSealConfig(JSON.stringify(sealConfig) ?? '');
  if (version !== 1 || config === undefined || !Array.isArray(terms) || terms.length === 0 || Object.keys(rest).length > 0) refuse();
  return { sealConfig: config, terms: terms.map((term, index) => parseTerm(term, index + 1)) };
}

function parseTerm(value: unknown, expected: number): Term {
  const { term, key, createdTime, ...rest } = (value ?? {}) as Record<string, unknown>;
  const bytes = typeof key === 'string' ? bytesFromBase64(key) : undefined;
  const isTerm = term === expected && bytes?.length === KEY_BYTES && typeof createdTime === 'string' && Object.keys(rest).length === 0;
  if (!isTerm) refuse();
  // A copy with memory of its own: Buffer.from(text) may lie in Node's shared pool.
  const own = Uint8Array.from(bytes);
  wipe(bytes);
  return { key: own, createdTime };
}

function parseObject(plaintext: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(plaintext).toString('utf8'));
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // the engine's message would quote the keyring
  }
  return refuse();
}

function refuse(): never {
  throw new PurserError('ERR_STATE_CORRUPT', 'the keyring opens but is not one this version can read', {
    hint: 'run the version of purser that wrote this store',
  });
}

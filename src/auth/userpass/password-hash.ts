// Password hashes: scrypt (RFC 7914) with the parameters in the record, so that they can grow. Guarantees: no more than two
// passwords are hashed at a time, never on all processors, and only so many wait, so that logins cannot take the thread pool (which
// also writes audit files), the memory or the event loop of the core; a password for nobody takes as long as one for somebody.

import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { z } from 'zod';

import { PurserError } from '../../lib/errors.ts';

/** N = 2^15, r = 8, p = 3: 32 MiB a hash, and one of OWASP's recommendations for scrypt (Password Storage Cheat Sheet). */
const COST = 15;
const BLOCK_SIZE = 8;
const PARALLELIZATION = 3;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** Of the four threads of libuv's pool; one processor stays free. */
const RUNNING = Math.min(2, Math.max(1, availableParallelism() - 1));
/** About ten to twenty seconds of work. */
const WAITING = 64;

const bytes = (length: number) => z.string().refine((text) => Buffer.from(text, 'base64').length === length);

export const passwordHashSchema = z.strictObject({
  kdf: z.literal('scrypt'),
  /** log2 of N. */
  cost: z.int().min(14).max(20),
  blockSize: z.int().min(8).max(16),
  parallelization: z.int().min(1).max(8),
  salt: bytes(SALT_BYTES),
  hash: bytes(HASH_BYTES),
}).readonly();

export type PasswordHash = z.infer<typeof passwordHashSchema>;
type Parameters = Omit<PasswordHash, 'hash'>;

const derive = promisify<string, Buffer, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(scrypt);

export class PasswordHasher {
  readonly #nobody: Parameters = newParameters();
  readonly #waiting: (() => void)[] = [];
  readonly #limits: { readonly running: number; readonly waiting: number };
  #running = 0;

  /** @param limits how many passwords are hashed at a time, and how many may wait */
  constructor(limits = { running: RUNNING, waiting: WAITING }) {
    this.#limits = limits;
  }

  /** @throws ERR_REQUEST_BUSY when too many passwords wait to be hashed */
  async hash(password: string): Promise<PasswordHash> {
    const parameters = newParameters();
    return { ...parameters, hash: (await this.#derive(password, parameters)).toString('base64') };
  }

  /**
   * Whether `password` is the one that was hashed; always false, after the same time, when there is no hash.
   * @throws ERR_REQUEST_BUSY
   */
  async verify(password: string, expected: PasswordHash | undefined): Promise<boolean> {
    const derived = await this.#derive(password, expected ?? this.#nobody);
    const isRight = timingSafeEqual(derived, expected === undefined ? Buffer.alloc(HASH_BYTES) : Buffer.from(expected.hash, 'base64'));
    return expected !== undefined && isRight;
  }

  /** True for a hash made with other parameters than today's. */
  isOutdated({ cost, blockSize, parallelization }: PasswordHash): boolean {
    return cost !== COST || blockSize !== BLOCK_SIZE || parallelization !== PARALLELIZATION;
  }

  async #derive(password: string, { cost, blockSize, parallelization, salt }: Parameters): Promise<Buffer> {
    await this.#enter();
    try {
      const memory = 128 * blockSize * (2 ** cost + parallelization);
      return await derive(password, Buffer.from(salt, 'base64'), HASH_BYTES, { N: 2 ** cost, r: blockSize, p: parallelization, maxmem: memory + 1024 * 1024 });
    } finally {
      this.#leave();
    }
  }

  async #enter(): Promise<void> {
    if (this.#running < this.#limits.running) { this.#running++; return; }
    if (this.#waiting.length >= this.#limits.waiting) throw new PurserError('ERR_REQUEST_BUSY', 'too many logins at the same time', { hint: 'try again in a few seconds' });
    await new Promise<void>((resolve) => { this.#waiting.push(resolve); });
  }

  /** Hands the place on, so that nobody gets in between. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next();
  }
}

function newParameters(): Parameters {
  return { kdf: 'scrypt', cost: COST, blockSize: BLOCK_SIZE, parallelization: PARALLELIZATION, salt: randomBytes(SALT_BYTES).toString('base64') };
}

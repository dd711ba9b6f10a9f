// Response wrapping: a response is kept in the cubbyhole of a token of its own, which opens it once, for a while. Guarantees: of any
// number of unwraps and rewraps at the same time exactly one gets the response; whatever is no living wrapping token is refused
// with the same words and stays as it is; an unused response goes with its token, also after a crash.

import type { TokenEntry, TokenStore } from '../auth/token/token-store.ts';
import type { JsonObject, LogicalResponse } from '../core/logical.ts';
import type { Cubbyholes } from '../engines/cubbyhole/cubbyholes.ts';
import { PurserError } from '../lib/errors.ts';
import { RESPONSE_WRAPPING } from '../policy/built-in.ts';

/** Where the response lies in the token's cubbyhole. */
const RESPONSE = 'response';

export class Wrapping {
  readonly #tokens: TokenStore;
  readonly #cubbyholes: Cubbyholes;

  constructor(tokens: TokenStore, cubbyholes: Cubbyholes) {
    this.#tokens = tokens;
    this.#cubbyholes = cubbyholes;
  }

  /**
   * Puts a response away.
   * @param path what made it, mount-qualified: whoever gets the token can check that it is what they wait for
   * @returns what the client gets instead
   * @throws ERR_REQUEST_INVALID for a response that has no envelope to put the token into
   */
  async wrap(response: LogicalResponse, ttlSeconds: number, path: string): Promise<LogicalResponse> {
    if (response.isBare === true) throw new PurserError('ERR_REQUEST_INVALID', 'this response cannot be wrapped', { hint: 'leave X-Vault-Wrap-TTL out' });
    return this.#put({ ...response } as JsonObject, ttlSeconds, path, wrappedAccessor(response));
  }

  /** The facts about a wrapping token that need no right but having it; it stays unused. @throws as unwrap() */
  async lookup(id: string): Promise<JsonObject> {
    const entry = await this.#find(id);
    return { creation_path: entry.path, creation_time: new Date(entry.createdAt).toISOString(), creation_ttl: entry.ttlSeconds };
  }

  /**
   * Takes the response out; the token is spent.
   * @param callerId the token of this request. When it is the wrapping token itself, the pipeline has counted its only use
   * @throws ERR_REQUEST_INVALID when `id` is no wrapping token, or was used or ended
   */
  async unwrap(id: string, callerId: string): Promise<LogicalResponse> {
    return this.#takeOut(id, callerId, async (_entry, kept) => kept);
  }

  /** Moves the response to a new token with the same time to live and the same creation path. @throws as unwrap() */
  async rewrap(id: string, callerId: string): Promise<LogicalResponse> {
    return this.#takeOut(id, callerId, (entry, kept) => this.#put({ ...kept } as JsonObject, entry.ttlSeconds, entry.path, wrappedAccessor(kept)));
  }

  /** Ends the wrapping token in a response that the client will not get, and what it wraps. */
  async withdraw({ wrapInfo }: LogicalResponse): Promise<void> {
    const id = wrapInfo?.['token'];
    if (typeof id === 'string') await this.#tokens.revoke(id);
  }

  async #takeOut(id: string, callerId: string, use: (entry: TokenEntry, kept: LogicalResponse) => Promise<LogicalResponse>): Promise<LogicalResponse> {
    const isCaller = id === callerId;
    const entry = isCaller ? await this.#findCaller(id) : await this.#find(id);
    // After the check: an ordinary token must not lose a use by being taken for a wrapping token.
    if (!isCaller && await this.#tokens.use(id) === undefined) throw notValid();
    try {
      const kept = await this.#cubbyholes.read(entry.key, RESPONSE);
      if (kept === undefined) throw notValid();
      return await use(entry, kept);
    } finally {
      if (!isCaller) await this.#tokens.finishUse(id);
    }
  }

  async #put(kept: JsonObject, ttlSeconds: number, path: string, accessor: string | undefined): Promise<LogicalResponse> {
    const { id, entry, warnings } = await this.#tokens.create({
      policies: [RESPONSE_WRAPPING], mayBeInternal: true, path, displayName: '', ttlSeconds, explicitMaxTtlSeconds: ttlSeconds, numUses: 1, renewable: false,
    });
    // The token first: without it nothing would ever remove the response.
    try {
      await this.#cubbyholes.write(entry.key, RESPONSE, kept);
    } catch (error) {
      await this.#tokens.revoke(id);
      throw error;
    }
    return {
      warnings,
      wrapInfo: {
        token: id, accessor: entry.accessor, ttl: entry.ttlSeconds, creation_time: new Date(entry.createdAt).toISOString(), creation_path: path,
        ...(accessor === undefined ? {} : { wrapped_accessor: accessor }),
      },
    };
  }

  async #find(id: string): Promise<TokenEntry> {
    return requireWrapping(await this.#tokens.lookup(id));
  }

  async #findCaller(id: string): Promise<TokenEntry> {
    return requireWrapping(await this.#tokens.lookupCaller(id));
  }
}

/** What a client gets for anything that is not a living wrapping token. */
export function notValid(): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', 'wrapping token is not valid or does not exist',
    { hint: 'it may have been used already or have ended; if you did not use it, somebody else may have: have the secret replaced' });
}

/** No operator can give this policy to a token, so it makes a wrapping token. */
function requireWrapping(entry: TokenEntry | undefined): TokenEntry {
  if (entry?.policies.length !== 1 || entry.policies[0] !== RESPONSE_WRAPPING) throw notValid();
  return entry;
}

/** Of a wrapped token or AppRole secret id, so that it can be revoked without being unwrapped. */
function wrappedAccessor({ auth, data }: LogicalResponse): string | undefined {
  const accessor = auth?.['accessor'] ?? data?.['secret_id_accessor'];
  return typeof accessor === 'string' && accessor !== '' ? accessor : undefined;
}

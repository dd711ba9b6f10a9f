// An engine with leases, as a database engine is one: `creds/<name>` makes an account in a "database" that outlives the core, which
// the test looks into. It can be told to refuse or to hang, as a database that is down does.

import type { Engine, HeldLease, JsonObject, LeaseKeeper, LeaseTerms, LogicalRequest, LogicalResponse } from '../../src/core/logical.ts';
import { PurserError } from '../../src/lib/errors.ts';

export class CredentialsEngine implements Engine, LeaseKeeper {
  /** Accounts that exist, by name. */
  readonly accounts = new Set<string>();
  /** How often each account was revoked. */
  readonly revocations = new Map<string, number>();
  behaviour: 'works' | 'refuses' | 'hangs' | 'breaks' = 'works';
  terms: LeaseTerms = { ttlSeconds: 60, maxTtlSeconds: 600 };
  renewable = true;
  #made = 0;

  async handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    if (request.operation !== 'read' || !request.path.startsWith('creds/')) return undefined;
    const username = `${request.path.slice('creds/'.length)}-${++this.#made}`;
    this.accounts.add(username);
    return { data: { username, password: 'canary-password' }, lease: { ...this.terms, renewable: this.renewable, state: { username } } };
  }

  async renewLease(_lease: HeldLease, incrementSeconds: number): Promise<LeaseTerms & { readonly state?: JsonObject }> {
    await this.#behave();
    return { ttlSeconds: incrementSeconds, maxTtlSeconds: this.terms.maxTtlSeconds };
  }

  async revokeLease(lease: HeldLease): Promise<void> {
    await this.#behave();
    const username = lease.state['username'] as string;
    this.revocations.set(username, (this.revocations.get(username) ?? 0) + 1);
    this.accounts.delete(username);
  }

  async #behave(): Promise<void> {
    await Promise.resolve();
    if (this.behaviour === 'refuses') throw new PurserError('ERR_REQUEST_INVALID', 'the database is down');
    if (this.behaviour === 'breaks') throw new TypeError('canary-password in a foreign message');
    if (this.behaviour === 'hangs') await new Promise(() => undefined);
  }
}

// A method whose logins are counted: everything goes through, logins only while their name is not locked out.

import type { AuthMethod, LoginRenewal, LogicalRequest, LogicalResponse, TokenParameters } from '../../core/logical.ts';
import type { Lockouts } from './lockouts.ts';

export class GuardedMethod implements AuthMethod {
  readonly unauthenticatedPaths: readonly string[];
  readonly sudoPaths: readonly string[];
  readonly #method: AuthMethod;
  readonly #lockouts: Lockouts;

  constructor(method: AuthMethod, lockouts: Lockouts) {
    this.#method = method;
    this.#lockouts = lockouts;
    this.unauthenticatedPaths = method.unauthenticatedPaths ?? [];
    this.sudoPaths = method.sudoPaths ?? [];
  }

  async handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    const name = this.#method.loginName?.(request);
    return name === undefined ? this.#method.handle(request) : this.#lockouts.attempt(name, () => this.#method.handle(request));
  }

  async exists(request: LogicalRequest): Promise<boolean> {
    return await this.#method.exists?.(request) ?? true;
  }

  renewLogin(renewal: LoginRenewal): Promise<TokenParameters> {
    return this.#method.renewLogin(renewal);
  }

  async tidy(): Promise<void> {
    await this.#lockouts.tidy();
    await this.#method.tidy?.();
  }
}

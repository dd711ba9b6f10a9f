// A method with one configuration and named roles (jwt, kubernetes): all of it but the login itself.

import type { AuthMethod, LoginRenewal, LogicalRequest, LogicalResponse, TokenParameters } from '../../core/logical.ts';
import type { MethodRecords } from './method-records.ts';
import type { MethodRoutes } from './routes.ts';

export abstract class RoleMethod<C, R extends { readonly token: TokenParameters }> implements AuthMethod {
  readonly unauthenticatedPaths = ['login'];
  protected readonly records: MethodRecords<C, R>;
  readonly #routes: MethodRoutes;

  protected constructor(records: MethodRecords<C, R>) {
    this.records = records;
    this.#routes = records.routes((request) => this.logIn(request));
  }

  exists(request: LogicalRequest): Promise<boolean> {
    return this.records.exists(request);
  }

  handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    return this.#routes.handle(request);
  }

  renewLogin(renewal: LoginRenewal): Promise<TokenParameters> {
    return this.records.renewLogin(renewal);
  }

  /** @throws PurserError for whoever does not log in */
  protected abstract logIn(request: LogicalRequest): Promise<LogicalResponse>;
}

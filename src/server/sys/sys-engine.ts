// The engine behind `sys/`: joins the route families of this folder into one table. A path that no family knows is 404; the
// routes that work on a sealed core (init, unseal, health …) are not here but in operator-routes.ts.

import type { Caller, Engine, LogicalRequest, LogicalResponse, Operation } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';

/** @param name what the `*` of the route's path stands for; empty without one */
export type SysHandler = (request: LogicalRequest, name: string) => Promise<LogicalResponse | undefined>;

export interface SysRoute {
  /** Relative to `sys/`: exact, or with a trailing `/*` for one or more segments. */
  readonly path: string;
  readonly operations: Readonly<Partial<Record<Operation, SysHandler>>>;
  /** Needs sudo on top of the capability. */
  readonly needsSudo?: boolean;
  /** Needs a valid token and no policy; the handler decides by the caller. */
  readonly isTokenOnly?: boolean;
  /** Needs no token; the handler decides what a stranger may do, and sees the token that was shown, unchecked. */
  readonly isOpen?: boolean;
  /** The body is what is kept, a null in it a value. */
  readonly isVerbatim?: boolean;
}

export class SysEngine implements Engine {
  readonly sudoPaths: readonly string[];
  readonly tokenOnlyPaths: readonly string[];
  readonly unauthenticatedPaths: readonly string[];
  readonly verbatimPaths: readonly string[];
  readonly #exact = new Map<string, SysRoute>();
  readonly #prefixes: readonly (readonly [string, SysRoute])[];

  constructor(routes: readonly SysRoute[]) {
    for (const route of routes) if (!route.path.endsWith('/*')) this.#exact.set(route.path, route);
    this.#prefixes = routes.filter((route) => route.path.endsWith('/*'))
      .map((route) => [route.path.slice(0, -1), route] as const)
      .sort(([a], [b]) => b.length - a.length);
    const pathsWith = (has: (route: SysRoute) => boolean | undefined): string[] => routes.filter((route) => has(route) === true).map((route) => route.path);
    this.sudoPaths = pathsWith((route) => route.needsSudo);
    this.tokenOnlyPaths = pathsWith((route) => route.isTokenOnly);
    this.unauthenticatedPaths = pathsWith((route) => route.isOpen);
    this.verbatimPaths = pathsWith((route) => route.isVerbatim);
  }

  async handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    const path = request.path.endsWith('/') ? request.path.slice(0, -1) : request.path;
    const [route, name] = this.#find(path);
    const handler = route.operations[request.operation];
    if (handler === undefined) throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
    return handler(request, name);
  }

  #find(path: string): readonly [SysRoute, string] {
    const exact = this.#exact.get(path);
    if (exact !== undefined) return [exact, ''];
    for (const [prefix, route] of this.#prefixes) if (path.startsWith(prefix)) return [route, path.slice(prefix.length)];
    throw new PurserError('ERR_REQUEST_NOT_FOUND', 'unsupported path');
  }
}

/** The caller, whom the pipeline has established for every route of `sys/`. */
export function callerOf(request: LogicalRequest): Caller {
  if (request.caller === undefined) throw new PurserError('ERR_REQUEST_DENIED', 'permission denied');
  return request.caller;
}

// The paths of an auth method as a table: `role/:/secret-id` → operation → handler, where `:` stands for one name. Every name is
// checked here once: it becomes part of a storage key, and of a policy's path.

import type { LogicalRequest, LogicalResponse, Operation } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';

/** @param name what the `:` of the path stands for, in lower case; empty without one */
export type Handler = (request: LogicalRequest, name: string) => Promise<LogicalResponse | undefined>;
export type Operations = Readonly<Partial<Record<Operation, Handler>>>;

/** Vault's form of names (GenericNameRegex), and `@` inside. ASCII only, so that lower case is one spelling. */
const NAME = /^\w(?:[\w.@-]{0,126}\w)?$/;

/** True for what the name of a role or user may be. */
export function isName(text: string): boolean {
  return NAME.test(text);
}

/** A handler for POST and PUT, which engines see as create or update. */
export function write(handler: Handler): Operations {
  return { create: handler, update: handler };
}

export class MethodRoutes {
  readonly #routes = new Map<string, Operations>();

  /** @param routes path → operations; a list has its path without the trailing '/' */
  constructor(routes: Readonly<Record<string, Operations>>) {
    for (const [path, operations] of Object.entries(routes)) this.#routes.set(path, operations);
  }

  /** @throws ERR_REQUEST_NOT_FOUND, ERR_REQUEST_UNSUPPORTED, and what the handler throws */
  async handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    const { route, name } = routeOf(request.path);
    const operations = this.#routes.get(route);
    if (operations === undefined || (name !== '' && !isName(name))) throw new PurserError('ERR_REQUEST_NOT_FOUND', 'unsupported path');
    const handler = operations[request.operation];
    if (handler === undefined) throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
    return handler(request, name);
  }
}

/** `role/Web/secret-id` → `role/:/secret-id` and `web`: the second segment is the name. */
export function routeOf(path: string): { readonly route: string; readonly name: string } {
  const [first = '', name, ...rest] = (path.endsWith('/') ? path.slice(0, -1) : path).split('/');
  if (name === undefined) return { route: first, name: '' };
  return { route: [first, ':', ...rest].join('/'), name: name.toLowerCase() };
}

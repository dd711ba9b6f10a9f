// The cubbyhole engine: storage of the calling token's own, which nobody else reaches, root included, and which ends with the
// token. Shapes are those of KV version 1. Batch tokens have none, because nothing of them is stored.

import type { Engine, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import type { Cubbyholes } from './cubbyholes.ts';

export class CubbyholeEngine implements Engine {
  readonly verbatimPaths = ['*'];
  readonly #cubbyholes: Cubbyholes;

  constructor(cubbyholes: Cubbyholes) {
    this.#cubbyholes = cubbyholes;
  }

  async handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    const { operation, path, data } = request;
    const key = ownKey(request);
    if (operation === 'list') return listed(await this.#cubbyholes.list(key, path));
    if (path === '') throw new PurserError('ERR_REQUEST_INVALID', 'missing path');
    if (operation === 'read') {
      const found = await this.#cubbyholes.read(key, path);
      return found && { data: found };
    }
    if (operation === 'delete') return this.#cubbyholes.delete(key, path).then(() => undefined);
    if (operation === 'patch') throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
    if (Object.keys(data).length === 0) throw new PurserError('ERR_REQUEST_INVALID', 'missing data fields');
    return this.#cubbyholes.write(key, path, data).then(() => undefined);
  }

  async exists(request: LogicalRequest): Promise<boolean> {
    return request.path !== '' && await this.#cubbyholes.read(ownKey(request), request.path) !== undefined;
  }
}

function ownKey({ caller }: LogicalRequest): string {
  if (caller === undefined) throw new PurserError('ERR_REQUEST_DENIED', 'permission denied');
  if (caller.tokenKey === '') throw new PurserError('ERR_REQUEST_INVALID', 'cubbyhole operations are only supported by "service" type tokens');
  return caller.tokenKey;
}

function listed(keys: readonly string[]): LogicalResponse | undefined {
  return keys.length === 0 ? undefined : { data: { keys } };
}

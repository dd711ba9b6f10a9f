// sys/wrapping: wrap, lookup, unwrap and rewrap. The token that is meant comes in the body, or is the one of the request.

import type { LogicalRequest } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField } from '../../lib/fields.ts';
import { notValid, type Wrapping } from '../wrapping.ts';
import { callerOf, type SysRoute } from './sys-engine.ts';

export function wrappingRoutes(wrapping: Wrapping): SysRoute[] {
  return [
    { path: 'wrapping/wrap', isVerbatim: true, operations: { update: async (request) => ({ data: requireWrap(request).data }) } },
    // Whoever has the token may ask what it holds, without any other right.
    { path: 'wrapping/lookup', isOpen: true, operations: { read: async (request) => ({ data: await wrapping.lookup(tokenOf(request)) }), update: async (request) => ({ data: await wrapping.lookup(tokenOf(request)) }) } },
    { path: 'wrapping/unwrap', operations: { update: (request) => wrapping.unwrap(tokenOf(request), callerOf(request).tokenId) } },
    { path: 'wrapping/rewrap', operations: { update: (request) => wrapping.rewrap(tokenOf(request), callerOf(request).tokenId) } },
  ];
}

function tokenOf({ data, caller, shownToken }: LogicalRequest): string {
  const token = stringField(data, 'token') ?? caller?.tokenId ?? shownToken ?? '';
  if (token === '') throw notValid();
  return token;
}

function requireWrap(request: LogicalRequest): LogicalRequest {
  if (request.wrapTtlSeconds === undefined) {
    throw new PurserError('ERR_REQUEST_INVALID', 'endpoint requires response wrapping to be used', { hint: 'send the header X-Vault-Wrap-TTL' });
  }
  return request;
}

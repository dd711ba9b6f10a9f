// What the core answered for one reference: something to deliver, or the reason why not, in the words of whoever started the container.

import { PurserError } from '../lib/errors.ts';
import type { ResolveResult } from '../wire/node-protocol.ts';
import { dataSegmentHint, describeReference } from '../wire/reference.ts';
import type { Reference } from '../wire/reference.ts';

/** A result that gives bytes or says that there are none; errors and foreign secrets are dealt with before. */
export type Delivery = Extract<ResolveResult, { outcome: 'value' | 'default' | 'absent' }>;

export function isDelivery(result: ResolveResult | undefined): result is Delivery {
  return result?.outcome === 'value' || result?.outcome === 'default' || result?.outcome === 'absent';
}

/** Why a reference has no delivery. */
export function explainOutcome(reference: Reference, result: ResolveResult | undefined): PurserError {
  const shown = describeReference(reference);
  const { path } = reference;
  if (result?.outcome !== 'error') return new PurserError('ERR_CLIENT_PROTOCOL', `${shown}: the core gave no answer`);
  const message = `${shown}: ${result.message}`;
  switch (result.code) {
    case 'ERR_RESOLVE_DENIED':
      return new PurserError('ERR_RESOLVE_DENIED', message, { hint: `a workload role must match this container and allow read on ${path}, see purser workload list` });
    case 'ERR_RESOLVE_NOT_FOUND':
      return new PurserError('ERR_RESOLVE_NOT_FOUND', message, { hint: dataSegmentHint(reference) ?? `store it with purser kv put ${path}, or add ?optional or ?default=…` });
    case 'ERR_RESOLVE_FIELD':
      return new PurserError('ERR_RESOLVE_FIELD', message, { hint: `purser kv get ${path} shows the fields` });
    default:
      return new PurserError('ERR_RESOLVE_FAILED', message, { hint: 'see the log of the core' });
  }
}

/** One error for all references of a container that failed. */
export function firstOf(errors: readonly PurserError[]): PurserError | undefined {
  const [first] = errors;
  if (first === undefined || errors.length === 1) return first;
  return new PurserError(first.code, `${first.message} (and ${errors.length - 1} more)`, first.hint === undefined ? {} : { hint: first.hint });
}

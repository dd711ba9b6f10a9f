// Strict validation of what comes over a wire. The refusal names the first field that is wrong, never its value: a value, and
// an unknown key as well, could be a secret in the wrong place.

import type { z } from 'zod';

import { PurserError } from '../lib/errors.ts';

/**
 * `value` as `schema` has it.
 * @param what names it in the error, such as "join request"
 * @throws ERR_REQUEST_INVALID
 */
export function validate<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue === undefined ? '' : issue.path.map(String).join('.');
  const problem = issue?.code === 'unrecognized_keys' ? 'has an unknown field' : issue?.code === 'custom' ? issue.message : 'is not valid';
  const subject = where === '' ? `the ${what}` : `the field ${nameable(where)} of the ${what}`;
  throw new PurserError('ERR_REQUEST_INVALID', `${subject} ${problem}`);
}

/** Keys of free maps (labels) are the sender's own words; only names of our own schemas are short and plain. */
function nameable(where: string): string {
  return /^[a-z0-9_.]{1,80}$/.test(where) ? where : where.split('.')[0]?.replace(/[^a-z0-9_]/g, '').slice(0, 40) ?? '';
}

// How a refused declaration reads: the label or variable first, then what is wrong, never a value.

import { PurserError, isPurserError } from '../lib/errors.ts';

/** @param origin where it was declared, such as `label purser.file.db` */
export function invalidDeclaration(origin: string, message: string, hint: string): PurserError {
  return new PurserError('ERR_WORKLOAD_INVALID', `${origin}: ${message}`, { hint });
}

/** Runs a parser and puts the label or variable in front of what it says. */
export function located<T>(origin: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!isPurserError(error)) throw error;
    throw new PurserError(error.code, `${origin}: ${error.message}`, error.hint === undefined ? {} : { hint: error.hint });
  }
}

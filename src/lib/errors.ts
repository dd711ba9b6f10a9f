// The one error class of Purser. Every error carries a code from a closed list (error-codes.ts) so that callers branch on
// codes, never on text; the message says what went wrong, the hint what to do next. Neither may ever hold a secret value.

import type { ErrorCode } from './error-codes.ts';

export interface ErrorOptions {
  /** What the reader should type or check next; shown by the CLI as `purser: hint: …`. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** An error with a code from the closed list in error-codes.ts. */
export class PurserError extends Error {
  override readonly name = 'PurserError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  /**
   * @param code one of the documented codes
   * @param message what went wrong: lowercase, no full stop, no secret value and no quoted input that could be one
   */
  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** True when `error` is a PurserError with one of the given codes (any code when none is given). */
export function isPurserError(error: unknown, ...codes: readonly ErrorCode[]): error is PurserError {
  return error instanceof PurserError && (codes.length === 0 || codes.includes(error.code));
}

/** The message of anything thrown, for logs and one-line reports. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

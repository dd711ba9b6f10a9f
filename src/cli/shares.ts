// What the commands that deal with unseal shares have in common.

import { PurserError } from '../lib/errors.ts';
import type { Output } from './output.ts';

/** Describes the argument of a command that takes one share. */
export const SHARE_ARGUMENT = '- reads it from standard input; without it a prompt asks';

/** One share a line, numbered. */
export function printShares(output: Output, shares: readonly string[]): void {
  shares.forEach((share, index) => { output.line(`unseal share ${String(index + 1)}: ${share}`); });
}

/** @throws ERR_CLI_USAGE */
export function shareCount(option: string, text: string): number {
  if (!/^\d{1,3}$/.test(text)) throw new PurserError('ERR_CLI_USAGE', `${option} takes a whole number`);
  return Number(text);
}

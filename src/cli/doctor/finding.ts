// What a check of `purser doctor` says. Each check ends, whatever is broken: a failure of the check itself is a finding too.

import { isPurserError, messageOf } from '../../lib/errors.ts';

export type FindingStatus = 'ok' | 'warn' | 'fail' | 'skip';

export interface Finding {
  readonly check: string;
  readonly status: FindingStatus;
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string | undefined;
}

export interface Check {
  readonly name: string;
  readonly run: () => Promise<Omit<Finding, 'check'>>;
}

/** How long one check may take, in milliseconds. */
const CHECK_MILLISECONDS = 10_000;

export const ok = (message: string): Omit<Finding, 'check'> => ({ status: 'ok', message });
export const warn = (message: string, hint: string): Omit<Finding, 'check'> => ({ status: 'warn', message, hint });
export const fail = (message: string, hint: string): Omit<Finding, 'check'> => ({ status: 'fail', message, hint });
export const skip = (message: string): Omit<Finding, 'check'> => ({ status: 'skip', message });

/** Runs the checks one after the other; what one throws is its finding. */
export async function runChecks(checks: readonly Check[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { name, run } of checks) findings.push({ check: name, ...await withinTime(run) });
  return findings;
}

async function withinTime(run: Check['run']): Promise<Omit<Finding, 'check'>> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Omit<Finding, 'check'>>((resolve) => {
    timer = setTimeout(() => resolve(fail(`no answer within ${CHECK_MILLISECONDS / 1000} s`, 'what is asked hangs: look at its log')), CHECK_MILLISECONDS);
  });
  try {
    return await Promise.race([run(), late]);
  } catch (error) {
    return { status: 'fail', message: messageOf(error), hint: isPurserError(error) ? error.hint : undefined };
  } finally {
    clearTimeout(timer);
  }
}

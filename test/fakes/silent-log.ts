// A real pino logger whose lines are kept for the test to read, at every level.

import pino from 'pino';
import type { Logger } from 'pino';

export interface RecordedLog {
  readonly log: Logger;
  /** Every line so far, parsed. */
  readonly lines: () => Record<string, unknown>[];
  /** Every line so far, as it was written. */
  readonly text: () => string;
}

export function recordedLog(): RecordedLog {
  const written: string[] = [];
  const log = pino({ level: 'debug', base: null }, { write: (line: string) => { written.push(line); } });
  return { log, lines: () => written.map((line) => JSON.parse(line) as Record<string, unknown>), text: () => written.join('') };
}

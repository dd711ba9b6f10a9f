// The log of the long-running programs: one JSON object a line on stderr. Whoever logs names fields that hold no secret;
// the redaction below is the second line, for a field that slips through.

import pino from 'pino';
import type { Logger } from 'pino';
import { PurserError } from './errors.ts';
import { currentTrace } from './trace.ts';

const LEVELS = ['error', 'warn', 'info', 'debug'];
const SECRET_FIELDS = ['token', 'value', 'content', 'jwt', 'password', 'key', 'share', 'authorization'];

/**
 * @param program stands in every line
 * @param level error, warn, info or debug
 * @throws ERR_CONFIG_INVALID for another level
 */
export function createLog(program: string, level = 'info'): Logger {
  if (!LEVELS.includes(level)) throw new PurserError('ERR_CONFIG_INVALID', 'there is no such log level', { hint: `choose one of ${LEVELS.join(', ')}` });
  return pino({
    level, base: { program }, timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    mixin: () => { const trace = currentTrace(); return trace === undefined ? {} : { trace }; },
    redact: { paths: SECRET_FIELDS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
  }, pino.destination({ fd: 2, sync: true }));
}

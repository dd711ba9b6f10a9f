// sys/tools: random bytes and plain hashes, in Vault's shapes (vault/logical_system.go). Both take their main parameter in the path or the
// body; the path wins.

import { createHash, randomBytes } from 'node:crypto';
import type { JsonObject, LogicalResponse } from '../../core/logical.ts';
import { bytesFromBase64 } from '../../lib/bytes.ts';
import { PurserError } from '../../lib/errors.ts';
import { integerField, stringField } from '../../lib/fields.ts';
import type { SysHandler, SysRoute } from './sys-engine.ts';

const DEFAULT_BYTES = 32;
const MAX_BYTES = 128 * 1024;
const SOURCES = ['platform', 'all'];
const ALGORITHMS: Readonly<Record<string, string>> = {
  'sha2-224': 'sha224', 'sha2-256': 'sha256', 'sha2-384': 'sha384', 'sha2-512': 'sha512',
  'sha3-224': 'sha3-224', 'sha3-256': 'sha3-256', 'sha3-384': 'sha3-384', 'sha3-512': 'sha3-512',
};

export function toolRoutes(): SysRoute[] {
  const random: SysHandler = async ({ data }, rest) => randomResponse(data, rest);
  const hash: SysHandler = async ({ data }, algorithm) => hashResponse(data, algorithm);
  return [
    { path: 'tools/random', operations: { update: random } },
    { path: 'tools/random/*', operations: { update: random } },
    { path: 'tools/hash', operations: { update: hash } },
    { path: 'tools/hash/*', operations: { update: hash } },
  ];
}

/** @param rest nothing, `<bytes>`, `<source>` or `<source>/<bytes>` */
function randomResponse(data: JsonObject, rest: string): LogicalResponse {
  const parts = rest === '' ? [] : rest.split('/');
  const source = (SOURCES.includes(parts[0] ?? '') || parts.length === 2 ? parts.shift() : undefined) ?? stringField(data, 'source') ?? 'platform';
  if (!SOURCES.includes(source)) throw invalid(`unsupported entropy source; must be one of ${SOURCES.join(', ')}`);
  if (parts.length > 1) throw invalid('the path is tools/random[/source][/bytes]');
  const bytes = (parts[0] === undefined ? integerField(data, 'bytes') : integerField({ bytes: parts[0] }, 'bytes')) ?? DEFAULT_BYTES;
  if (bytes < 1) throw invalid('"bytes" cannot be less than 1');
  if (bytes > MAX_BYTES) throw invalid(`"bytes" should be less than ${MAX_BYTES}`);
  return { data: { random_bytes: encoded(randomBytes(bytes), stringField(data, 'format') ?? 'base64') } };
}

function hashResponse(data: JsonObject, named: string): LogicalResponse {
  const algorithm = named === '' ? stringField(data, 'algorithm') ?? 'sha2-256' : named;
  const name = Object.hasOwn(ALGORITHMS, algorithm) ? ALGORITHMS[algorithm] : undefined;
  if (name === undefined) throw invalid(`unsupported algorithm; must be one of ${Object.keys(ALGORITHMS).join(', ')}`);
  const text = stringField(data, 'input');
  const input = text === undefined ? undefined : bytesFromBase64(text);
  if (input === undefined) throw invalid('unable to decode input as base64');
  return { data: { sum: encoded(createHash(name).update(input).digest(), stringField(data, 'format') ?? 'hex') } };
}

function encoded(bytes: Buffer, format: string): string {
  if (format !== 'hex' && format !== 'base64') throw invalid('unsupported encoding format; must be "hex" or "base64"');
  return bytes.toString(format);
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}

// A secret id as requests wish for it, within what its role allows, and as answers show it.

import type { JsonObject } from '../../core/logical.ts';
import { areWithin } from '../../lib/cidr.ts';
import { PurserError } from '../../lib/errors.ts';
import { durationField, field, integerField, stringListField, stringMapField } from '../../lib/fields.ts';
import type { Role } from './roles.ts';
import type { SecretId, SecretIdWish } from './secret-ids.ts';

const MAX_METADATA = 64;
const MAX_METADATA_LENGTH = 512;

/** @throws ERR_REQUEST_INVALID when it is malformed or more than the role allows */
export function readSecretIdWish(data: JsonObject, role: Role): SecretIdWish {
  const numUses = integerField(data, 'num_uses') ?? role.secretIdNumUses;
  const ttlSeconds = durationField(data, 'ttl') ?? role.secretIdTtlSeconds;
  if (numUses < 0) throw invalid('num_uses cannot be negative');
  if (exceeds(numUses, role.secretIdNumUses)) throw invalid("num_uses cannot be higher than the role's secret_id_num_uses");
  if (exceeds(ttlSeconds, role.secretIdTtlSeconds)) throw invalid("ttl cannot be longer than the role's secret_id_ttl");
  const cidrs = stringListField(data, 'cidr_list') ?? [];
  const tokenBoundCidrs = stringListField(data, 'token_bound_cidrs') ?? [];
  if (!areWithin(cidrs, role.secretIdBoundCidrs, 'cidr_list')) throw invalid("cidr_list goes beyond the role's secret_id_bound_cidrs");
  if (!areWithin(tokenBoundCidrs, role.token.boundCidrs, 'token_bound_cidrs')) throw invalid("token_bound_cidrs goes beyond the role's");
  return { numUses, ttlSeconds, cidrs, tokenBoundCidrs, metadata: readMetadata(data) };
}

/** In Vault's shape. */
export function showSecretId(record: SecretId): JsonObject {
  return {
    secret_id_accessor: record.accessor, secret_id_ttl: record.ttlSeconds, secret_id_num_uses: record.usesLeft ?? 0, cidr_list: record.cidrs, token_bound_cidrs: record.tokenBoundCidrs,
    metadata: record.metadata, creation_time: timeText(record.createdAt), last_updated_time: timeText(record.updatedAt), expiration_time: timeText(record.expiresAt),
  };
}

/** 0 is "no limit", both as a wish and as a limit. */
function exceeds(wish: number, limit: number): boolean {
  return limit > 0 && (wish === 0 || wish > limit);
}

/** JSON text, as Vault's clients send it, or the object itself. It becomes the metadata of tokens, which is not secret. */
function readMetadata(data: JsonObject): Readonly<Record<string, string>> {
  const given = field(data, 'metadata');
  if (given === '') return {};
  const metadata = stringMapField({ metadata: typeof given === 'string' ? parse(given) : given ?? null }, 'metadata') ?? {};
  const entries = Object.entries(metadata);
  if (entries.length > MAX_METADATA || entries.some(([key, value]) => key.length + value.length > MAX_METADATA_LENGTH)) {
    throw invalid(`metadata is at most ${MAX_METADATA} pairs of ${MAX_METADATA_LENGTH} characters`);
  }
  return metadata;
}

function parse(text: string): JsonObject[string] {
  try {
    return JSON.parse(text) as JsonObject[string];
  } catch {
    throw invalid('the field metadata must be a JSON object of strings');
  }
}

/** Go's zero time stands for "never". */
function timeText(milliseconds: number | null): string {
  return milliseconds === null ? '0001-01-01T00:00:00Z' : new Date(milliseconds).toISOString();
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}

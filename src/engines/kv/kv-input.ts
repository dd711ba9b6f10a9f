// What clients send to the KV engine, checked: paths, check-and-set, version lists, settings. Messages are Vault's where
// clients compare them.

import type { JsonObject } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, durationField, field, integerField, integerListField, objectField, stringMapField } from '../../lib/fields.ts';
import { isJsonObject } from '../../lib/json.ts';
import { mergePatch } from '../../lib/merge-patch.ts';
import type { MountConfig, SecretMetadata } from './metadata.ts';

/** Leaves room below the storage limit of 1,900 bytes for the mount's prefix and the version number. */
const MAX_PATH_BYTES = 1_800;
const CAS_HINT = 'cas is the current version, 0 for a new secret: purser kv metadata get shows it';
/** Metadata is rewritten with every version, so the number of versions bounds the cost of a write. */
const MAX_VERSIONS = 10_000;
const MAX_CUSTOM_PAIRS = 64;
const MAX_CUSTOM_KEY_BYTES = 128;
const MAX_CUSTOM_VALUE_BYTES = 512;

/** @throws ERR_REQUEST_INVALID */
export function requirePath(path: string): string {
  if (path === '' || path.endsWith('/')) throw invalid('the path of a secret is missing');
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw invalid(`the path of a secret has at most ${MAX_PATH_BYTES} bytes`);
  return path;
}

/** The folder that a listing asks for: empty, or ending in '/'. @throws ERR_REQUEST_INVALID */
export function folderOf(path: string): string {
  if (path === '') return '';
  const folder = requirePath(path.endsWith('/') ? path.slice(0, -1) : path);
  return `${folder}/`;
}

/** @throws ERR_REQUEST_INVALID */
export function requireData(body: JsonObject): JsonObject {
  const data = objectField(body, 'data');
  if (data === undefined) throw invalid('no data provided');
  return data;
}

/** Applies `options.cas` to the secret as it is now. @throws ERR_REQUEST_INVALID */
export function checkCas(body: JsonObject, metadata: SecretMetadata | undefined, config: MountConfig): void {
  const cas = integerField(objectField(body, 'options') ?? {}, 'cas');
  if (cas === undefined && (config.casRequired || metadata?.casRequired === true)) throw invalid('check-and-set parameter required for this call', CAS_HINT);
  if (cas !== undefined && cas !== (metadata?.current ?? 0)) throw invalid('check-and-set parameter did not match the current version', CAS_HINT);
}

/** `version` of a read: 0 or absent is the current one. @throws ERR_REQUEST_INVALID */
export function versionOf(query: JsonObject): number {
  return nonNegative(query, 'version') ?? 0;
}

/** @throws ERR_REQUEST_INVALID */
export function depthOf(query: JsonObject): number {
  return nonNegative(query, 'depth') ?? 0;
}

/** @throws ERR_REQUEST_INVALID */
export function versionsOf(body: JsonObject): readonly number[] {
  const versions = integerListField(body, 'versions') ?? [];
  if (versions.length === 0) throw invalid('No version number provided');
  return versions;
}

/** The secret's settings after a write of metadata; what is not named stays. @throws ERR_REQUEST_INVALID */
export function withSettings(metadata: SecretMetadata, body: JsonObject, now: number): SecretMetadata {
  return {
    ...metadata, updatedAt: now,
    maxVersions: maxVersions(body) ?? metadata.maxVersions,
    casRequired: booleanField(body, 'cas_required') ?? metadata.casRequired,
    deleteAfterSeconds: durationField(body, 'delete_version_after') ?? metadata.deleteAfterSeconds,
    custom: checkCustom(stringMapField(body, 'custom_metadata')) ?? metadata.custom,
  };
}

/** As withSettings, with `custom_metadata` as a merge patch. @throws ERR_REQUEST_INVALID */
export function withPatchedSettings(metadata: SecretMetadata, body: JsonObject, now: number): SecretMetadata {
  const patch = field(body, 'custom_metadata');
  if (!isJsonObject(patch)) return withSettings(metadata, body, now);
  return withSettings(metadata, { ...body, custom_metadata: mergePatch(metadata.custom ?? {}, patch) }, now);
}

/** A negative delete_version_after switches the feature off for the mount. @throws ERR_REQUEST_INVALID */
export function withConfig(config: MountConfig, body: JsonObject): MountConfig {
  const seconds = durationField(body, 'delete_version_after', { allowNegative: true });
  return {
    v: 1,
    maxVersions: maxVersions(body) ?? config.maxVersions,
    casRequired: booleanField(body, 'cas_required') ?? config.casRequired,
    deleteAfterSeconds: seconds === undefined ? config.deleteAfterSeconds : Math.max(-1, seconds),
  };
}

function maxVersions(body: JsonObject): number | undefined {
  const count = nonNegative(body, 'max_versions');
  if (count !== undefined && count > MAX_VERSIONS) throw invalid(`max_versions is at most ${MAX_VERSIONS}`);
  return count;
}

function nonNegative(data: JsonObject, name: string): number | undefined {
  const number = integerField(data, name);
  if (number !== undefined && number < 0) throw invalid(`the field ${name} must not be negative`);
  return number;
}

function checkCustom(custom: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> | undefined {
  const pairs = Object.entries(custom ?? {});
  if (pairs.length > MAX_CUSTOM_PAIRS) throw customRefused(`at most ${MAX_CUSTOM_PAIRS} pairs`);
  for (const [key, value] of pairs) {
    if (key === '' || Buffer.byteLength(key) > MAX_CUSTOM_KEY_BYTES) throw customRefused(`a key has 1 to ${MAX_CUSTOM_KEY_BYTES} bytes`);
    if (Buffer.byteLength(value) > MAX_CUSTOM_VALUE_BYTES) throw customRefused(`a value has at most ${MAX_CUSTOM_VALUE_BYTES} bytes`);
    if (/[\p{C}\p{Zl}\p{Zp}]/u.test(key + value)) throw customRefused('only printable characters');
    if (key === '__proto__') throw customRefused('this key is not allowed');
  }
  return custom;
}

function customRefused(rule: string): PurserError {
  return invalid(`custom_metadata validation failed: ${rule}`);
}

function invalid(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}

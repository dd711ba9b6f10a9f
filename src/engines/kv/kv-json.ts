// Secrets as Vault's API shows them (reference: the kv plugin, version 2): RFC 3339 times, '' for "not deleted".

import type { JsonObject, JsonValue } from '../../core/logical.ts';
import { formatDuration } from '../../lib/duration.ts';
import { isJsonObject } from '../../lib/json.ts';
import type { MountConfig, SecretMetadata, VersionMetadata } from './metadata.ts';
import type { SecretVersion } from './secret-store.ts';

export function versionJson(metadata: SecretMetadata, number: number, version: VersionMetadata): JsonObject {
  const { created_time, deletion_time, destroyed } = timesJson(version);
  return { created_time, deletion_time, destroyed, custom_metadata: metadata.custom, version: number };
}

export function secretJson({ metadata, number, version, data }: SecretVersion): JsonObject {
  return { data, metadata: versionJson(metadata, number, version) };
}

/** The names in the secret, without their values. @param depth levels shown; 0: all */
export function subkeysJson({ metadata, number, version, data }: SecretVersion, depth: number): JsonObject {
  return { subkeys: data && withoutValues(data, depth), metadata: versionJson(metadata, number, version) };
}

export function metadataJson(metadata: SecretMetadata): JsonObject {
  const versions = Object.entries(metadata.versions).map(([number, version]) => [number, timesJson(version)] as const);
  return { ...settingsJson(metadata), versions: Object.fromEntries(versions) };
}

/** What there is to say of a secret without its versions. */
export function settingsJson(metadata: SecretMetadata): JsonObject {
  return {
    cas_required: metadata.casRequired,
    created_time: time(metadata.createdAt),
    current_version: metadata.current,
    custom_metadata: metadata.custom,
    delete_version_after: formatDuration(metadata.deleteAfterSeconds * 1000),
    max_versions: metadata.maxVersions,
    oldest_version: metadata.oldest,
    updated_time: time(metadata.updatedAt),
  };
}

export function configJson(config: MountConfig): JsonObject {
  return {
    cas_required: config.casRequired,
    delete_version_after: formatDuration(Math.max(0, config.deleteAfterSeconds) * 1000),
    max_versions: config.maxVersions,
  };
}

type TimesJson = { readonly created_time: string; readonly deletion_time: string; readonly destroyed: boolean };

/** Every read shows them, and what is kept of a version never changes. */
const knownTimes = new WeakMap<VersionMetadata, TimesJson>();

function timesJson(version: VersionMetadata): TimesJson {
  let times = knownTimes.get(version);
  if (times === undefined) {
    times = { created_time: time(version.created), deletion_time: version.deleted === null ? '' : time(version.deleted), destroyed: version.destroyed };
    knownTimes.set(version, times);
  }
  return times;
}

function withoutValues(data: JsonObject, depth: number): JsonObject {
  return Object.fromEntries(Object.entries(data).map(([name, value]): [string, JsonValue] =>
    [name, isJsonObject(value) && depth !== 1 ? withoutValues(value, Math.max(0, depth - 1)) : null]));
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

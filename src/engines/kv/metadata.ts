// The metadata of one secret and what happens to it: pure functions over frozen values, times in milliseconds since the epoch.
// Invariants: `current` only grows; `versions` names exactly the versions whose data record exists or is destroyed.

import { z } from 'zod';

import { decodeRecord } from '../../lib/json-record.ts';

/** Versions kept when neither the secret nor the mount says. */
export const DEFAULT_MAX_VERSIONS = 10;

const count = z.int().nonnegative();
const version = z.strictObject({
  created: count,
  /** From then on the version does not read; null: never. May lie in the future. */
  deleted: count.nullable(),
  destroyed: z.boolean(),
}).readonly();
const settings = { v: z.literal(1), maxVersions: count, casRequired: z.boolean() };

const metadataSchema = z.strictObject({
  ...settings,
  deleteAfterSeconds: count,
  createdAt: count,
  updatedAt: count,
  /** The highest version number given so far; 0 before the first. */
  current: count,
  /** The lowest version kept; 0 until something was pruned. */
  oldest: count,
  custom: z.record(z.string(), z.string()).readonly().nullable(),
  versions: z.record(z.string(), version).readonly(),
}).readonly();

const configSchema = z.strictObject({ ...settings, deleteAfterSeconds: z.int().min(-1) }).readonly();

export type SecretMetadata = z.infer<typeof metadataSchema>;
export type VersionMetadata = z.infer<typeof version>;
/** Settings of the mount; deleteAfterSeconds -1 switches the feature off for all its secrets. */
export type MountConfig = z.infer<typeof configSchema>;

export const DEFAULT_CONFIG: MountConfig = { v: 1, maxVersions: 0, casRequired: false, deleteAfterSeconds: 0 };

/** @throws ERR_RECORD_INVALID */
export function parseMetadata(bytes: Uint8Array): SecretMetadata {
  return decodeRecord(bytes, metadataSchema, 'secret metadata');
}

/** @throws ERR_RECORD_INVALID */
export function parseConfig(bytes: Uint8Array): MountConfig {
  return decodeRecord(bytes, configSchema, 'kv configuration');
}

/** A secret without versions. */
export function emptyMetadata(now: number): SecretMetadata {
  return {
    v: 1, maxVersions: 0, casRequired: false, deleteAfterSeconds: 0, createdAt: now, updatedAt: now,
    current: 0, oldest: 0, custom: null, versions: {},
  };
}

export function isReadable(version: VersionMetadata, now: number): boolean {
  return !version.destroyed && (version.deleted === null || version.deleted > now);
}

/** The current version's number if it reads, else 0. */
export function readableCurrent(metadata: SecretMetadata | undefined, now: number): number {
  const current = metadata?.versions[metadata.current];
  return metadata !== undefined && current !== undefined && isReadable(current, now) ? metadata.current : 0;
}

/** Adds a version and drops what exceeds the maximum. @returns the new metadata and the numbers of the dropped versions */
export function addVersion(metadata: SecretMetadata, config: MountConfig, now: number): { readonly metadata: SecretMetadata; readonly dropped: readonly number[] } {
  const current = metadata.current + 1;
  const added = { created: now, deleted: deletionTime(metadata, config, now), destroyed: false };
  const kept = metadata.maxVersions || config.maxVersions || DEFAULT_MAX_VERSIONS;
  const oldest = current - metadata.oldest >= kept ? current - kept + 1 : metadata.oldest;
  const versions = Object.entries(metadata.versions);
  return {
    metadata: {
      ...metadata, current, oldest, updatedAt: now,
      versions: Object.fromEntries([...versions.filter(([number]) => Number(number) >= oldest), [String(current), added]]),
    },
    dropped: versions.map(([number]) => Number(number)).filter((number) => number < oldest),
  };
}

/**
 * Applies `change` to those of `numbers` that exist and that it changes; unknown numbers are ignored, as Vault does.
 * @returns the new metadata and the changed numbers, or undefined when nothing changed
 */
export function changeVersions(
  metadata: SecretMetadata, numbers: readonly number[], now: number, change: (version: VersionMetadata) => VersionMetadata,
): { readonly metadata: SecretMetadata; readonly changed: readonly number[] } | undefined {
  const changes = [...new Set(numbers)].flatMap((number): [number, VersionMetadata][] => {
    const before = metadata.versions[number];
    const after = before && change(before);
    return after === undefined || after === before ? [] : [[number, after]];
  });
  if (changes.length === 0) return undefined;
  const versions = { ...metadata.versions, ...Object.fromEntries(changes) };
  return { metadata: { ...metadata, updatedAt: now, versions }, changed: changes.map(([number]) => number) };
}

/** The three changes of a version; each returns its argument when there is nothing to do. */
export const softDelete = (now: number) => (version: VersionMetadata): VersionMetadata =>
  isReadable(version, now) ? { ...version, deleted: now } : version;
export const undelete = (version: VersionMetadata): VersionMetadata =>
  version.destroyed || version.deleted === null ? version : { ...version, deleted: null };
export const destroy = (version: VersionMetadata): VersionMetadata =>
  version.destroyed ? version : { ...version, destroyed: true };

/** The shorter of the secret's and the mount's delete_version_after; 0 counts as unset. */
function deletionTime(metadata: SecretMetadata, config: MountConfig, now: number): number | null {
  if (config.deleteAfterSeconds < 0) return null;
  const set = [metadata.deleteAfterSeconds, config.deleteAfterSeconds].filter((seconds) => seconds > 0);
  return set.length === 0 ? null : now + Math.min(...set) * 1000;
}

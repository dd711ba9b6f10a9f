// Secrets in kv engines, as the page reads and writes them. A value is asked for only when the user says so.

import { ApiError, type Api } from './api.ts';

export interface Place {
  /** With trailing slash. */
  readonly mount: string;
  /** Of the engine; only version 2 keeps versions. */
  readonly engineVersion: 1 | 2;
  /** Below the mount. */
  readonly rest: string;
}

export interface VersionInfo { readonly version: number; readonly created: string; readonly deleted: string; readonly isDestroyed: boolean }
export interface SecretInfo { readonly current: number; readonly versions: readonly VersionInfo[]; readonly custom: Readonly<Record<string, string>>; readonly casRequired: boolean }

interface MountInfo { readonly path: string; readonly type: string; readonly options?: { readonly version?: string } | null }
interface Metadata {
  readonly current_version: number; readonly cas_required: boolean; readonly custom_metadata: Readonly<Record<string, string>> | null;
  readonly versions: Readonly<Record<string, { readonly created_time: string; readonly deletion_time: string; readonly destroyed: boolean }>>;
}

/** Where a secret of a reference lies. @throws ApiError */
export async function locate(api: Api, path: string): Promise<Place> {
  const { path: mount, options } = await api.read<MountInfo>(`sys/internal/ui/mounts/${path}`);
  return { mount, engineVersion: options?.version === '2' ? 2 : 1, rest: path.slice(mount.length) };
}

/** The kv mounts that the token may see. @throws ApiError */
export async function kvMounts(api: Api): Promise<string[]> {
  const { secret } = await api.read<{ secret: Readonly<Record<string, MountInfo>> }>('sys/internal/ui/mounts');
  return Object.entries(secret).filter(([, { type }]) => type === 'kv').map(([mount]) => mount).sort();
}

/** Names below a folder, folders with a trailing slash. @throws ApiError */
export async function browse(api: Api, folder: string): Promise<string[]> {
  const { mount, engineVersion, rest } = await locate(api, folder);
  return api.list(`${mount}${engineVersion === 2 ? 'metadata/' : ''}${rest}`.replace(/\/$/, ''));
}

/** Versions and metadata, without values. Undefined for an engine that keeps none. @throws ApiError */
export async function describe(api: Api, path: string): Promise<SecretInfo | undefined> {
  const { mount, engineVersion, rest } = await locate(api, path);
  if (engineVersion === 1) return undefined;
  const metadata = await api.read<Metadata>(`${mount}metadata/${rest}`);
  const versions = Object.entries(metadata.versions).map(([version, { created_time: created, deletion_time: deleted, destroyed }]) => ({ version: Number(version), created, deleted, isDestroyed: destroyed }));
  return { current: metadata.current_version, casRequired: metadata.cas_required, custom: metadata.custom_metadata ?? {}, versions: versions.sort((a, b) => b.version - a.version) };
}

/** The names of a secret's fields, where the policy allows to know them without the values; else none. */
export async function fieldNames(api: Api, path: string): Promise<string[]> {
  try {
    const { mount, rest } = await locate(api, path);
    return Object.keys((await api.read<{ subkeys: Readonly<Record<string, unknown>> }>(`${mount}subkeys/${rest}`)).subkeys);
  } catch (error) {
    if (error instanceof ApiError) return [];
    throw error;
  }
}

/** The values, because the user asked to see them. @throws ApiError */
export async function reveal(api: Api, path: string, version?: number): Promise<Readonly<Record<string, unknown>>> {
  const { mount, engineVersion, rest } = await locate(api, path);
  if (engineVersion === 1) return api.read(`${mount}${rest}`);
  return (await api.read<{ data: Readonly<Record<string, unknown>> }>(`${mount}data/${rest}`, { version })).data;
}

export interface Change {
  readonly fields: Readonly<Record<string, string>>;
  /** Keep the fields that are not named; needs the patch capability. */
  readonly keepOthers: boolean;
  /** Write only if this is still the current version. */
  readonly cas?: number | undefined;
}

/** Writes a new version. @returns its number, undefined for an engine without versions. @throws ApiError */
export async function change(api: Api, path: string, { fields, keepOthers, cas }: Change): Promise<number | undefined> {
  const { mount, engineVersion, rest } = await locate(api, path);
  if (engineVersion === 1) {
    await api.write(`${mount}${rest}`, fields);
    return undefined;
  }
  const body = { data: fields, ...(cas === undefined ? {} : { options: { cas } }) };
  return (await api.write<{ version: number }>(`${mount}data/${rest}`, body, keepOthers ? 'PATCH' : 'POST')).version;
}

// How a mount is tuned: how long what it hands out lives, whether logins show it, and when it locks users out. Read from a
// request over what is stored; 0 and null stand for the system's defaults.

import { z } from 'zod';

import type { LockoutRule } from '../auth/method/lockouts.ts';
import { MAX_TTL_SECONDS } from '../auth/token/lifetime.ts';
import type { JsonObject } from '../core/logical.ts';
import { PurserError } from '../lib/errors.ts';
import { booleanField, durationField, integerField, objectField, stringField } from '../lib/fields.ts';

/** A mount, and the system, may allow more than 32 days, but not what no one will look after. */
export const MAX_MOUNT_TTL_SECONDS = 10 * 365 * 24 * 3600;
const MAX_LOCKOUT_SECONDS = 365 * 24 * 3600;
const MAX_LOCKOUT_THRESHOLD = 1_000;

const seconds = z.int().nonnegative();
const lockoutSchema = z.strictObject({
  threshold: z.int().min(1), durationSeconds: seconds, resetSeconds: seconds, isDisabled: z.boolean(),
}).readonly();
const TOKEN_TYPES = ['default-service', 'default-batch', 'service', 'batch'] as const;

export const mountConfigSchema = z.strictObject({
  defaultTtlSeconds: seconds,
  maxTtlSeconds: seconds,
  listingVisibility: z.enum(['', 'hidden', 'unauth']),
  /** Auth methods only. */
  tokenType: z.enum(TOKEN_TYPES),
  /** Auth methods only; null: the defaults. */
  lockout: lockoutSchema.nullable(),
}).readonly();

export type MountConfig = z.infer<typeof mountConfigSchema>;

/** How long what a mount hands out lives: where nobody wishes anything, and at most. */
export interface Ttls { readonly defaultTtlSeconds: number; readonly maxTtlSeconds: number }

/** The system's, where its configuration says nothing. */
export const SYSTEM_TTLS: Ttls = { defaultTtlSeconds: MAX_TTL_SECONDS, maxTtlSeconds: MAX_TTL_SECONDS };

export const DEFAULT_MOUNT_CONFIG: MountConfig = { defaultTtlSeconds: 0, maxTtlSeconds: 0, listingVisibility: '', tokenType: 'default-service', lockout: null };

/** Vault's: five wrong passwords within a quarter of an hour lock a user out for one. */
export const DEFAULT_LOCKOUT: LockoutRule = { threshold: 5, durationSeconds: 900, resetSeconds: 900, isDisabled: false };

const KNOWN = ['default_lease_ttl', 'max_lease_ttl', 'listing_visibility', 'token_type', 'user_lockout_config', 'description', 'options'];
const KNOWN_LOCKOUT = ['lockout_threshold', 'lockout_duration', 'lockout_counter_reset_duration', 'lockout_disable'];

/**
 * The configuration after a tune (or the `config` of an enable): fields that are absent keep their value, a TTL of -1 becomes
 * the system's default.
 * @param system in force where the mount says nothing
 * @throws ERR_REQUEST_INVALID, also for fields of Vault that are not offered, unless their value means "off"
 */
export function readMountConfig(data: JsonObject, system: Ttls, before: MountConfig = DEFAULT_MOUNT_CONFIG): MountConfig {
  refuseUnknown(data, KNOWN, 'mount config');
  const config: MountConfig = {
    defaultTtlSeconds: ttl(data, 'default_lease_ttl') ?? before.defaultTtlSeconds,
    maxTtlSeconds: ttl(data, 'max_lease_ttl') ?? before.maxTtlSeconds,
    listingVisibility: oneOf(data, 'listing_visibility', ['', 'hidden', 'unauth']) ?? before.listingVisibility,
    tokenType: oneOf(data, 'token_type', TOKEN_TYPES) ?? before.tokenType,
    lockout: readLockout(objectField(data, 'user_lockout_config'), before.lockout),
  };
  const { defaultTtlSeconds, maxTtlSeconds } = effectiveTtls(config, system);
  if (maxTtlSeconds > MAX_MOUNT_TTL_SECONDS) throw invalid('max_lease_ttl is at most ten years');
  if (defaultTtlSeconds > maxTtlSeconds) throw invalid('default_lease_ttl cannot be greater than max_lease_ttl');
  return config;
}

/** In force: the system's where the mount says nothing. */
export function effectiveTtls({ defaultTtlSeconds, maxTtlSeconds }: Ttls, system: Ttls): Ttls {
  const max = maxTtlSeconds || system.maxTtlSeconds;
  return { defaultTtlSeconds: defaultTtlSeconds || Math.min(system.defaultTtlSeconds, max), maxTtlSeconds: max };
}

/** The `config` of a mount as lists show it, with what was set. @param ttls what to show instead of what was set: `tune` shows what is in force */
export function showMountConfig(config: MountConfig, isAuth: boolean, { defaultTtlSeconds, maxTtlSeconds }: Ttls = config): JsonObject {
  return {
    default_lease_ttl: defaultTtlSeconds, max_lease_ttl: maxTtlSeconds, force_no_cache: false,
    ...(isAuth ? { token_type: config.tokenType } : {}),
    ...(config.listingVisibility === '' ? {} : { listing_visibility: config.listingVisibility }),
    ...(config.lockout === null ? {} : {
      user_lockout_threshold: config.lockout.threshold, user_lockout_duration: config.lockout.durationSeconds,
      user_lockout_counter_reset_duration: config.lockout.resetSeconds, user_lockout_disable: config.lockout.isDisabled,
    }),
  };
}

function readLockout(data: JsonObject | undefined, before: LockoutRule | null): LockoutRule | null {
  if (data === undefined) return before;
  refuseUnknown(data, KNOWN_LOCKOUT, 'user_lockout_config');
  const old = before ?? DEFAULT_LOCKOUT;
  const lockout = {
    threshold: integerField(data, 'lockout_threshold') ?? old.threshold,
    durationSeconds: durationField(data, 'lockout_duration') ?? old.durationSeconds,
    resetSeconds: durationField(data, 'lockout_counter_reset_duration') ?? old.resetSeconds,
    isDisabled: booleanField(data, 'lockout_disable') ?? old.isDisabled,
  };
  if (lockout.threshold < 1 || lockout.threshold > MAX_LOCKOUT_THRESHOLD) throw invalid(`lockout_threshold is 1 to ${MAX_LOCKOUT_THRESHOLD}`, 'set lockout_disable to switch it off');
  if (lockout.durationSeconds > MAX_LOCKOUT_SECONDS || lockout.resetSeconds > MAX_LOCKOUT_SECONDS) throw invalid('a lockout duration is at most a year');
  return lockout;
}

function ttl(data: JsonObject, name: string): number | undefined {
  const value = durationField(data, name, { allowNegative: true });
  if (value === undefined || value >= 0) return value;
  if (value === -1) return 0;
  throw invalid(`${name} cannot be negative`);
}

function oneOf<T extends string>(data: JsonObject, name: string, values: readonly T[]): T | undefined {
  const text = stringField(data, name);
  if (text === undefined) return undefined;
  const value = values.find((known) => known === text);
  if (value === undefined) throw invalid(`${name} must be one of ${values.map((known) => JSON.stringify(known)).join(', ')}`);
  return value;
}

/** What would be silently ignored would mean something else to the client than to the server. */
function refuseUnknown(data: JsonObject, known: readonly string[], what: string): void {
  for (const [name, value] of Object.entries(data)) {
    const isOff = value === null || value === '' || value === 0 || value === false || (Array.isArray(value) && value.length === 0);
    if (!known.includes(name) && !isOff) throw invalid(`${what}: the field ${name.slice(0, 64)} is not supported`, 'leave it out');
  }
}

function invalid(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}

// How long a token lives: pure arithmetic, times in milliseconds since the epoch, lengths in seconds. Only a root token may be
// without end, and only from its creation: `expiresAt` never turns into null. Rules: Vault's framework.CalculateTTL.

import { formatDuration } from '../../lib/duration.ts';

/** The longest life of a token, and the life of one that asks for none: 32 days, Vault's system default. */
export const MAX_TTL_SECONDS = 2_764_800;

export interface LifetimeRequest {
  /** 0: the default. */
  readonly ttlSeconds: number;
  /** 0: no limit but the system's. */
  readonly explicitMaxTtlSeconds: number;
  /** 0: not periodic. A periodic token lives on as long as it is renewed within its period. */
  readonly periodSeconds: number;
  readonly isRoot: boolean;
  /** The longest life that the mount or the login's role allow; 0 or absent: the system's. */
  readonly maxTtlSeconds?: number;
}

/** What may have changed since a token was made, for its renewal. As in LifetimeRequest. */
export type RenewalTerms = Pick<LifetimeRequest, 'ttlSeconds' | 'periodSeconds' | 'maxTtlSeconds'>;

export interface Lifetime {
  readonly createdAt: number;
  /** Null: no end. */
  readonly expiresAt: number | null;
  readonly ttlSeconds: number;
  readonly explicitMaxTtlSeconds: number;
  readonly periodSeconds: number;
}

/** The life of a token made at `now`, with a warning for each wish that was cut. */
export function newLifetime(request: LifetimeRequest, now: number): { readonly lifetime: Lifetime; readonly warnings: readonly string[] } {
  const warnings: string[] = [];
  const maxTtlSeconds = request.maxTtlSeconds || MAX_TTL_SECONDS;
  const explicitMaxTtlSeconds = capped(request.explicitMaxTtlSeconds, maxTtlSeconds, 'explicit_max_ttl', warnings);
  const limit = explicitMaxTtlSeconds === 0 ? maxTtlSeconds : explicitMaxTtlSeconds;
  const periodSeconds = capped(request.periodSeconds, maxTtlSeconds, 'period', warnings);
  const hasNoEnd = request.isRoot && request.ttlSeconds === 0 && periodSeconds === 0 && explicitMaxTtlSeconds === 0;
  const wish = periodSeconds > 0 ? periodSeconds : request.ttlSeconds;
  const ttlSeconds = hasNoEnd ? 0 : wish === 0 ? limit : capped(wish, limit, 'TTL', warnings);
  return {
    lifetime: { createdAt: now, expiresAt: hasNoEnd ? null : now + ttlSeconds * 1000, ttlSeconds, explicitMaxTtlSeconds, periodSeconds },
    warnings,
  };
}

/**
 * The end of a token after a renewal at `now`. A periodic token gets its period, any other the increment (0: its first TTL),
 * both within the maximum counted from creation.
 * @param terms what counts instead of what the token was made with
 */
export function renewedExpiry(life: Lifetime, incrementSeconds: number, now: number, terms: RenewalTerms = life): { readonly expiresAt: number | null; readonly warnings: readonly string[] } {
  if (life.expiresAt === null) return { expiresAt: null, warnings: [] };
  const { ttlSeconds, periodSeconds } = terms;
  const maxTtlSeconds = terms.maxTtlSeconds || MAX_TTL_SECONDS;
  const seconds = periodSeconds > 0 ? Math.min(periodSeconds, maxTtlSeconds) : incrementSeconds > 0 ? incrementSeconds : ttlSeconds || maxTtlSeconds;
  const wish = now + 1000 * seconds;
  const limit = life.createdAt + 1000 * Math.min(life.explicitMaxTtlSeconds || Infinity, periodSeconds > 0 ? Infinity : maxTtlSeconds);
  if (wish <= limit) return { expiresAt: wish, warnings: [] };
  return { expiresAt: limit, warnings: [cut('TTL', Math.round((wish - now) / 1000), Math.ceil((limit - now) / 1000))] };
}

/** Whole seconds left, rounded up: a living token never shows 0, which clients read as "without end". 0 only for no end. */
export function secondsLeft(expiresAt: number | null, now: number): number {
  return expiresAt === null ? 0 : Math.max(0, Math.ceil((expiresAt - now) / 1000));
}

function capped(seconds: number, limit: number, what: string, warnings: string[]): number {
  if (seconds <= limit) return seconds;
  warnings.push(cut(what, seconds, limit));
  return limit;
}

function cut(what: string, wish: number, limit: number): string {
  return `${what} of "${formatDuration(wish * 1000)}" exceeded the effective max_ttl of "${formatDuration(limit * 1000)}"; value is capped accordingly`;
}

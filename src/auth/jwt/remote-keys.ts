// The keys behind a JWKS URL or an OpenID Connect discovery document: read when they are needed, kept for minutes, read again for a key that is
// not known yet, and never more often than strangers with made-up tokens should be able to make the core ask.

import { errors, type CompactVerifyResult } from 'jose';
import { z } from 'zod';

import { PurserError } from '../../lib/errors.ts';
import { exchangeJson, outgoingUrl } from '../../lib/outgoing-json.ts';
import { SetKeys, type VerificationKeys } from './signature.ts';

/** A key that the provider withdraws is trusted no longer than this, in milliseconds. */
const KEPT_MS = 10 * 60_000;
/** Between two reads for an unknown key, and after a failed one. */
const COOLDOWN_MS = 10_000;
const MAX_KEYS = 100;

const setSchema = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).max(MAX_KEYS) });
const discoverySchema = z.object({ issuer: z.string(), jwks_uri: z.string() });

export interface RemoteKeysOptions {
  /** Exactly one of the two. */
  readonly jwksUrl?: string;
  readonly discoveryUrl?: string;
  readonly certificateAuthority?: string | undefined;
  readonly now: () => number;
}

export class RemoteKeys implements VerificationKeys {
  readonly #options: RemoteKeysOptions;
  #keys: SetKeys | undefined;
  #readAt = -Infinity;
  #failedAt = -Infinity;
  #reading: Promise<void> | undefined;

  constructor(options: RemoteKeysOptions) {
    this.#options = options;
  }

  async verify(jwt: string, algorithms: readonly string[]): Promise<CompactVerifyResult> {
    if (this.#keys === undefined || this.#age() >= KEPT_MS) await this.read();
    try {
      return await this.#current().verify(jwt, algorithms);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || this.#age() < COOLDOWN_MS) throw error;
      await this.read();
      return this.#current().verify(jwt, algorithms);
    }
  }

  /** Reads the keys; callers at the same time share one read. @throws ERR_AUTH_PROVIDER */
  async read(): Promise<void> {
    if (this.#reading === undefined && this.#options.now() - this.#failedAt < COOLDOWN_MS) {
      throw failed('it could not be asked a moment ago');
    }
    this.#reading ??= this.#fetch().finally(() => { this.#reading = undefined; });
    await this.#reading;
  }

  #age(): number {
    return this.#options.now() - this.#readAt;
  }

  #current(): SetKeys {
    if (this.#keys === undefined) throw failed('it has no keys');
    return this.#keys;
  }

  async #fetch(): Promise<void> {
    const { jwksUrl, discoveryUrl, now } = this.#options;
    try {
      const url = jwksUrl ?? await this.#discover(discoveryUrl ?? '');
      const set = setSchema.safeParse(await this.#get(url));
      if (!set.success) throw failed('it does not answer with a JWKS');
      this.#keys = new SetKeys(set.data);
      this.#readAt = now();
    } catch (error) {
      this.#failedAt = now();
      this.#keys = this.#age() >= KEPT_MS ? undefined : this.#keys;
      throw error;
    }
  }

  /** @returns the JWKS URL. The document must name the issuer it was asked for (OpenID Connect Discovery 1.0, section 4.3) */
  async #discover(discoveryUrl: string): Promise<string> {
    const base = discoveryUrl.replace(/\/+$/, '');
    const document = discoverySchema.safeParse(await this.#get(`${base}/.well-known/openid-configuration`));
    if (!document.success) throw failed('it does not answer with a discovery document');
    if (document.data.issuer.replace(/\/+$/, '') !== base) throw failed('its discovery document names another issuer');
    // A public provider must not send the core to a service of its own machine.
    const isLocal = outgoingUrl(base, 'oidc_discovery_url').protocol === 'http:';
    if (!isLocal && !document.data.jwks_uri.startsWith('https:')) throw failed('its discovery document leads to an unprotected address');
    return document.data.jwks_uri;
  }

  async #get(url: string): Promise<unknown> {
    const { status, body } = await exchangeJson({ url, certificateAuthority: this.#options.certificateAuthority });
    if (status !== 200) throw failed(`it answered with status ${status}`);
    return body;
  }
}

function failed(reason: string): PurserError {
  return new PurserError('ERR_AUTH_PROVIDER', `the identity provider could not be asked: ${reason}`, { hint: 'check jwks_url or oidc_discovery_url and the CA certificate in the config of the auth method' });
}

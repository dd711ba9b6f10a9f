// The configuration of a jwt mount: where the keys come from, and what holds for all roles. Exactly one source of keys. What is written
// was tried: a source that cannot be read is refused.

import { createPublicKey, type KeyObject } from 'node:crypto';

import { z } from 'zod';

import type { JsonObject } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, stringField, stringListField } from '../../lib/fields.ts';
import { outgoingUrl } from '../../lib/outgoing-json.ts';
import { RemoteKeys } from './remote-keys.ts';
import { ALGORITHMS, StaticKeys, type VerificationKeys } from './signature.ts';

export const configSchema = z.strictObject({
  v: z.literal(1),
  jwksUrl: z.string(),
  jwksCaPem: z.string(),
  discoveryUrl: z.string(),
  discoveryCaPem: z.string(),
  /** PEM, public. */
  validationKeys: z.array(z.string()).readonly(),
  boundIssuer: z.string(),
  /** Empty: all of ALGORITHMS. */
  algorithms: z.array(z.enum(ALGORITHMS)).readonly(),
  defaultRole: z.string(),
}).readonly();

export type JwtConfig = z.infer<typeof configSchema>;

/** Fields of Vault's logins by browser, which are not offered. */
const OIDC_FIELDS = ['oidc_client_id', 'oidc_client_secret', 'oidc_response_mode', 'oidc_response_types', 'provider_config', 'jwks_pairs'];
const MAX_KEYS = 32;
const MAX_PEM = 65_536;

/** @throws ERR_REQUEST_INVALID */
export function readConfig(data: JsonObject): JwtConfig {
  for (const field of OIDC_FIELDS) if (isSet(data[field])) throw new PurserError('ERR_REQUEST_INVALID', `the field ${field} is not supported`, { hint: 'logins by JWT are offered, logins by browser are not' });
  const text = (name: string): string => (stringField(data, name) ?? '').trim();
  const algorithms = stringListField(data, 'jwt_supported_algs') ?? [];
  const unsupported = algorithms.find((name) => !ALGORITHMS.some((known) => known === name));
  if (unsupported !== undefined) throw new PurserError('ERR_REQUEST_INVALID', 'a signature algorithm is not supported', { hint: `known are: ${ALGORITHMS.join(', ')}` });
  const config: JwtConfig = {
    v: 1, jwksUrl: text('jwks_url'), jwksCaPem: pem(data, 'jwks_ca_pem'), discoveryUrl: text('oidc_discovery_url'), discoveryCaPem: pem(data, 'oidc_discovery_ca_pem'),
    validationKeys: stringListField(data, 'jwt_validation_pubkeys') ?? [], boundIssuer: text('bound_issuer'), algorithms: algorithms as JwtConfig['algorithms'], defaultRole: text('default_role').toLowerCase(),
  };
  const sources = [config.jwksUrl !== '', config.discoveryUrl !== '', config.validationKeys.length > 0].filter(Boolean).length;
  if (sources !== 1) throw invalid("exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set");
  if (config.jwksUrl !== '') outgoingUrl(config.jwksUrl, 'jwks_url');
  if (config.discoveryUrl !== '') outgoingUrl(config.discoveryUrl, 'oidc_discovery_url');
  if (config.validationKeys.length > MAX_KEYS) throw invalid(`at most ${MAX_KEYS} keys`);
  config.validationKeys.forEach(publicKey);
  return config;
}

/** The keys of a configuration; remote ones are read when they are first needed. */
export function keysOf(config: JwtConfig, now: () => number): VerificationKeys {
  if (config.validationKeys.length > 0) return new StaticKeys(config.validationKeys.map(publicKey));
  return remoteKeys(config, now);
}

/** Reads remote keys once, so that a wrong address is told to who wrote it. @throws ERR_AUTH_PROVIDER */
export async function tryKeys(config: JwtConfig, data: JsonObject, now: () => number): Promise<void> {
  if (config.validationKeys.length === 0 && booleanField(data, 'skip_jwks_validation') !== true) await remoteKeys(config, now).read();
}

/** As Vault shows it. */
export function showConfig(config: JwtConfig): JsonObject {
  return {
    bound_issuer: config.boundIssuer, default_role: config.defaultRole, jwks_ca_pem: config.jwksCaPem, jwks_url: config.jwksUrl, jwt_supported_algs: config.algorithms,
    jwt_validation_pubkeys: config.validationKeys, oidc_client_id: '', oidc_discovery_ca_pem: config.discoveryCaPem, oidc_discovery_url: config.discoveryUrl,
    oidc_response_mode: '', oidc_response_types: [], provider_config: {},
  };
}

/** The issuer that a token must name; empty for any. A discovery document vouches for its own issuer only. */
export function issuerOf({ boundIssuer, discoveryUrl }: JwtConfig): string {
  return boundIssuer === '' ? discoveryUrl.replace(/\/+$/, '') : boundIssuer;
}

function remoteKeys(config: JwtConfig, now: () => number): RemoteKeys {
  const source = config.jwksUrl === '' ? { discoveryUrl: config.discoveryUrl, ca: config.discoveryCaPem } : { jwksUrl: config.jwksUrl, ca: config.jwksCaPem };
  const { ca, ...url } = source;
  return new RemoteKeys({ ...url, certificateAuthority: ca === '' ? undefined : ca, now });
}

/** @throws ERR_REQUEST_INVALID; a private key does not belong here, and is not quoted */
function publicKey(text: string): KeyObject {
  if (text.length > MAX_PEM) throw invalid('a key is too long');
  if (/PRIVATE KEY/.test(text)) throw new PurserError('ERR_REQUEST_INVALID', 'jwt_validation_pubkeys has a private key', { hint: 'give the public half, and make a new pair: this one was sent over the network' });
  try {
    const key = createPublicKey(text);
    if (['rsa', 'rsa-pss', 'ec', 'ed25519'].includes(key.asymmetricKeyType ?? '')) return key;
  } catch {
    // Said below.
  }
  throw invalid('jwt_validation_pubkeys has something that is not a public key in PEM form');
}

function pem(data: JsonObject, name: string): string {
  const text = (stringField(data, name) ?? '').trim();
  if (text.length > MAX_PEM || (text !== '' && !/^-----BEGIN CERTIFICATE-----/.test(text))) throw invalid(`${name} must be certificates in PEM form`);
  return text;
}

function isSet(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return typeof value === 'object' && value !== null ? Object.keys(value).length > 0 : value !== undefined && value !== null && value !== '';
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}

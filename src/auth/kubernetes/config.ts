// The configuration of a kubernetes mount: which API server judges tokens, and with whose token it is asked.

import { createPublicKey, X509Certificate, type KeyObject } from 'node:crypto';

import { z } from 'zod';

import type { JsonObject } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, stringField, stringListField } from '../../lib/fields.ts';
import { outgoingUrl } from '../../lib/outgoing-json.ts';

export const configSchema = z.strictObject({
  v: z.literal(1),
  host: z.string().min(1),
  /** PEM; empty trusts the system's authorities. */
  caCert: z.string(),
  /** Asks for TokenReviews; empty: the token that logs in asks for itself, which its service account must be allowed to. */
  reviewerJwt: z.string(),
  /** PEM, public; empty leaves the signature to the API server alone. */
  pemKeys: z.array(z.string()).readonly(),
  issuer: z.string(),
  disableIssValidation: z.boolean(),
}).readonly();

export type KubernetesConfig = z.infer<typeof configSchema>;

const MAX_PEM = 65_536;
const MAX_KEYS = 32;

/** @throws ERR_REQUEST_INVALID; the reviewer's token is not quoted */
export function readConfig(data: JsonObject): KubernetesConfig {
  const host = (stringField(data, 'kubernetes_host') ?? '').replace(/\/+$/, '');
  if (host === '') throw invalid('no host provided');
  if (outgoingUrl(host, 'kubernetes_host').protocol !== 'https:') throw invalid('kubernetes_host must be an https:// URL: it is sent tokens');
  const caCert = (stringField(data, 'kubernetes_ca_cert') ?? '').trim();
  if (caCert.length > MAX_PEM || (caCert !== '' && !isCertificate(caCert))) throw invalid('kubernetes_ca_cert must be certificates in PEM form');
  const reviewerJwt = (stringField(data, 'token_reviewer_jwt') ?? '').trim();
  if (!/^[\x21-\x7e]{0,16384}$/.test(reviewerJwt)) throw invalid('token_reviewer_jwt is not a token');
  const pemKeys = stringListField(data, 'pem_keys') ?? [];
  if (pemKeys.length > MAX_KEYS) throw invalid(`at most ${MAX_KEYS} keys`);
  pemKeys.forEach(publicKeyOf);
  // Accepted and without effect: this core does not take the token and CA of a pod that it may run in.
  booleanField(data, 'disable_local_ca_jwt');
  const config: KubernetesConfig = {
    v: 1, host, caCert, reviewerJwt, pemKeys, issuer: stringField(data, 'issuer') ?? '', disableIssValidation: booleanField(data, 'disable_iss_validation') ?? true,
  };
  if (!config.disableIssValidation && config.issuer === '') throw invalid('issuer must be set where disable_iss_validation is false');
  return config;
}

/** As Vault shows it: of the reviewer's token only that there is one. */
export function showConfig(config: KubernetesConfig): JsonObject {
  return {
    disable_iss_validation: config.disableIssValidation, disable_local_ca_jwt: true, issuer: config.issuer, kubernetes_ca_cert: config.caCert, kubernetes_host: config.host,
    pem_keys: config.pemKeys, token_reviewer_jwt_set: config.reviewerJwt !== '',
  };
}

/** A public key, or that of a certificate. @throws ERR_REQUEST_INVALID */
export function publicKeyOf(pem: string): KeyObject {
  try {
    if (pem.length <= MAX_PEM && !/PRIVATE KEY/.test(pem)) return /BEGIN CERTIFICATE/.test(pem) ? new X509Certificate(pem).publicKey : createPublicKey(pem);
  } catch {
    // Said below.
  }
  throw invalid('pem_keys has something that is not a public key or certificate in PEM form');
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}

// Which service account a token says it is of: both forms of Kubernetes' claims. Nothing here is proven; it decides only whether the API server
// is asked at all, and what it says must agree.

import { decodeJwt } from 'jose';

import { PurserError } from '../../lib/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts';

export interface ServiceAccount {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  /** Of tokens that are kept in a Secret; else empty. */
  readonly secretName: string;
}

const MAX_JWT_LENGTH = 32_768;
const LEGACY = 'kubernetes.io/serviceaccount/';

/** @throws ERR_REQUEST_INVALID for what is no service account's token, ERR_REQUEST_DENIED for another issuer */
export function claimedAccount(jwt: string, issuer: string | undefined): ServiceAccount {
  const claims = decode(jwt);
  if (issuer !== undefined && claims['iss'] !== issuer) throw new PurserError('ERR_REQUEST_DENIED', 'invalid issuer (iss) claim');
  const bound = claims['kubernetes.io'];
  const account = isJsonObject(bound) ? projected(bound) : legacy(claims);
  if (account.name === '' || account.namespace === '') throw invalid('the token is not one of a service account');
  return account;
}

/** Since Kubernetes 1.21: `"kubernetes.io": {"namespace": …, "serviceaccount": {"name": …, "uid": …}}`. */
function projected(bound: JsonObject): ServiceAccount {
  const account = isJsonObject(bound['serviceaccount']) ? bound['serviceaccount'] : {};
  return { name: text(account['name']), namespace: text(bound['namespace']), uid: text(account['uid']), secretName: '' };
}

/** Tokens kept in Secrets: `"kubernetes.io/serviceaccount/namespace"` and so on. */
function legacy(claims: JsonObject): ServiceAccount {
  const claim = (name: string): string => text(claims[LEGACY + name]);
  return { name: claim('service-account.name'), namespace: claim('namespace'), uid: claim('service-account.uid'), secretName: claim('secret.name') };
}

function decode(jwt: string): JsonObject {
  if (jwt.length <= MAX_JWT_LENGTH && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(jwt)) {
    try {
      return decodeJwt<JsonObject>(jwt);
    } catch {
      // Said below, without quoting it.
    }
  }
  throw invalid('the token is malformed');
}

function text(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : '';
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}

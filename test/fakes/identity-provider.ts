// An identity provider on loopback: signs tokens, and serves its keys and discovery document as the test wants them.

import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';

export interface IdentityProvider {
  readonly url: string;
  /** How often each path was asked. */
  readonly asked: Map<string, number>;
  /** The JWKS that is served. */
  keys: JWK[];
  /** Takes a path over. */
  readonly overrides: Map<string, RequestListener>;
  /** A token with these claims over `iss`, `sub`, `aud`, `iat` and `exp`; undefined leaves a claim out. */
  sign(claims?: Record<string, unknown>, header?: { kid?: string | undefined; alg?: string }): Promise<string>;
  /** Replaces the signing key; the old one is served no longer. */
  rotate(): Promise<void>;
  close(): Promise<void>;
}

export async function startIdentityProvider(): Promise<IdentityProvider> {
  let counter = 0;
  let signing: { kid: string; privateKey: CryptoKey };
  const asked = new Map<string, number>();
  const overrides = new Map<string, RequestListener>();
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    asked.set(path, (asked.get(path) ?? 0) + 1);
    const override = overrides.get(path);
    if (override !== undefined) return override(request, response);
    const body = path === '/keys' ? { keys: provider.keys }
      : path === '/.well-known/openid-configuration' ? { issuer: provider.url, jwks_uri: `${provider.url}/keys` } : undefined;
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body ?? {}));
  });
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const newKey = async (): Promise<void> => {
    const kid = `key-${++counter}`;
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    signing = { kid, privateKey };
    provider.keys = [{ ...await exportJWK(publicKey), kid, alg: 'ES256', use: 'sig' }];
  };
  const provider: IdentityProvider = {
    url, asked, overrides, keys: [],
    sign: (claims = {}, header = {}) => {
      const now = Math.floor(Date.now() / 1000);
      const all = { iss: url, sub: 'ann', aud: 'purser', iat: now, exp: now + 60, ...claims };
      const kid = 'kid' in header ? header.kid : signing.kid;
      return new SignJWT(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)))
        .setProtectedHeader({ alg: 'ES256', ...(kid === undefined ? {} : { kid }) }).sign(signing.privateKey);
    },
    rotate: newKey,
    close: () => new Promise((resolve) => { server.closeAllConnections(); server.close(() => resolve()); }),
  };
  await newKey();
  return provider;
}

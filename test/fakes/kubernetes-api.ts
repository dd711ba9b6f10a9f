// A Kubernetes API server as far as TokenReview goes: HTTPS with its own CA, service accounts with tokens, reviewers that may ask.

import { createPrivateKey, X509Certificate } from 'node:crypto';
import { createServer } from 'node:https';
import type { RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

import { exportSPKI, generateKeyPair, SignJWT } from 'jose';

import { issueAuthority, issueServerCertificate } from '../../src/server/tls/certificate.ts';

export interface Account { readonly name: string; readonly namespace: string; readonly uid: string }

export interface KubernetesApi {
  readonly url: string;
  readonly caCert: string;
  /** Of the key that signs tokens. */
  readonly publicKey: string;
  /** May ask for reviews. */
  readonly reviewer: string;
  /** Bodies of the reviews asked for. */
  readonly reviews: { spec: { token: string; audiences?: string[] } }[];
  /** A projected token; `claimed` says something else than the API server knows. */
  token(account: Account, options?: { audiences?: string[]; legacy?: boolean; claimed?: Partial<Account>; mayReview?: boolean; issuer?: string }): Promise<string>;
  /** The account is deleted: its tokens are no longer good. */
  forget(token: string): void;
  /** Answers instead of the review. */
  override: RequestListener | undefined;
  /** Changes the answer before it is sent. */
  change: ((status: Record<string, unknown>) => unknown) | undefined;
  close(): Promise<void>;
}

export async function startKubernetesApi(): Promise<KubernetesApi> {
  const authority = await issueAuthority(Date.now());
  const signer = { certificate: new X509Certificate(authority.certificate), key: createPrivateKey(authority.key) };
  const certificate = await issueServerCertificate(signer, ['127.0.0.1'], Date.now());
  const { publicKey, privateKey } = await generateKeyPair('RS256');
  const known = new Map<string, { account: Account; audiences: string[]; mayReview: boolean }>();
  const server = createServer({ key: certificate.key, cert: certificate.certificate }, (request, response) => {
    if (api.override !== undefined) return api.override(request, response);
    const asker = (request.headers.authorization ?? '').replace(/^Bearer /, '');
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const answer = (status: number, body: object): void => { response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)); };
      if (request.method !== 'POST' || request.url !== '/apis/authentication.k8s.io/v1/tokenreviews') return answer(404, {});
      if (asker !== api.reviewer && !known.has(asker)) return answer(401, {});
      if (asker !== api.reviewer && known.get(asker)?.mayReview !== true) return answer(403, {});
      const review = JSON.parse(Buffer.concat(chunks).toString()) as KubernetesApi['reviews'][number];
      api.reviews.push(review);
      const found = known.get(review.spec.token);
      const wanted = review.spec.audiences ?? ['https://kubernetes.default.svc'];
      const audiences = found?.audiences.filter((audience) => wanted.includes(audience)) ?? [];
      const status = found === undefined || audiences.length === 0 ? { authenticated: false, error: 'token is not good' } : {
        authenticated: true, audiences,
        user: {
          username: `system:serviceaccount:${found.account.namespace}:${found.account.name}`, uid: found.account.uid,
          groups: ['system:serviceaccounts', `system:serviceaccounts:${found.account.namespace}`, 'system:authenticated'],
        },
      };
      answer(201, { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', ...review, status: api.change === undefined ? status : api.change(status) });
    });
  });
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const api: KubernetesApi = {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, caCert: authority.certificate, publicKey: await exportSPKI(publicKey), reviewer: 'reviewer-token-canary', reviews: [],
    override: undefined, change: undefined,
    token: async (account, { audiences = ['https://kubernetes.default.svc'], legacy = false, claimed = {}, mayReview = false, issuer = 'https://kubernetes.default.svc' } = {}) => {
      const said = { ...account, ...claimed };
      const claims = legacy ? {
        'kubernetes.io/serviceaccount/namespace': said.namespace, 'kubernetes.io/serviceaccount/service-account.name': said.name, 'kubernetes.io/serviceaccount/service-account.uid': said.uid,
        'kubernetes.io/serviceaccount/secret.name': `${said.name}-token-x`,
      } : { 'kubernetes.io': { namespace: said.namespace, serviceaccount: { name: said.name, uid: said.uid } }, aud: audiences };
      const token = await new SignJWT({ ...claims, sub: `system:serviceaccount:${said.namespace}:${said.name}`, nonce: Math.random() })
        .setProtectedHeader({ alg: 'RS256' }).setIssuer(issuer).setIssuedAt().setExpirationTime('1h').sign(privateKey);
      known.set(token, { account, audiences, mayReview });
      return token;
    },
    forget: (token) => { known.delete(token); },
    close: () => new Promise((resolve) => { server.closeAllConnections(); server.close(() => resolve()); }),
  };
  return api;
}

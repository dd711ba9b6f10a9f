// TokenReview (kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1): the API server says whose token it is, and whether it
// is good now. Its word is the proof; everything in it is checked for form, and a token for another audience is refused.

import { z } from 'zod';

import { PurserError } from '../../lib/errors.ts';
import { exchangeJson } from '../../lib/outgoing-json.ts';
import type { KubernetesConfig } from './config.ts';
import type { ServiceAccount } from './service-account.ts';

const PATH = '/apis/authentication.k8s.io/v1/tokenreviews';
/** At the same time, for all mounts: strangers decide how many logins there are. */
const MAX_REVIEWS = 64;
const MAX_ANSWER_BYTES = 256 * 1024;

const reviewSchema = z.object({
  status: z.object({
    authenticated: z.boolean().default(false),
    user: z.object({ username: z.string().default(''), uid: z.string().default(''), groups: z.array(z.string()).default([]) }).default({ username: '', uid: '', groups: [] }),
    audiences: z.array(z.string()).default([]),
  }),
});

let reviews = 0;

/**
 * Asks for the account of a token.
 * @param audience whom the token must be for; empty: the API server
 * @throws ERR_REQUEST_DENIED for a token that is not good, ERR_AUTH_PROVIDER, ERR_REQUEST_BUSY
 */
export async function reviewToken(jwt: string, audience: string, config: KubernetesConfig): Promise<Pick<ServiceAccount, 'name' | 'namespace' | 'uid'>> {
  if (reviews >= MAX_REVIEWS) throw new PurserError('ERR_REQUEST_BUSY', 'too many logins are being reviewed at the same time');
  reviews++;
  try {
    return accountOf(await ask(jwt, audience, config), audience);
  } finally {
    reviews--;
  }
}

async function ask(jwt: string, audience: string, { host, caCert, reviewerJwt }: KubernetesConfig): Promise<z.infer<typeof reviewSchema>['status']> {
  const { status, body } = await exchangeJson({
    url: host + PATH, certificateAuthority: caCert === '' ? undefined : caCert, method: 'POST', maxBytes: MAX_ANSWER_BYTES,
    headers: { authorization: `Bearer ${reviewerJwt === '' ? jwt : reviewerJwt}` },
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token: jwt, ...(audience === '' ? {} : { audiences: [audience] }) } },
  });
  if (status === 401 || status === 403) throw reviewerJwt === '' ? denied() : failed('it does not let the reviewer token ask for reviews');
  if (status !== 200 && status !== 201) throw failed(`it answered with status ${status}`);
  const review = reviewSchema.safeParse(body);
  if (!review.success) throw failed('it does not answer with a TokenReview');
  return review.data.status;
}

function accountOf({ authenticated, user, audiences }: z.infer<typeof reviewSchema>['status'], audience: string): Pick<ServiceAccount, 'name' | 'namespace' | 'uid'> {
  const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(user.username) ?? [];
  if (!authenticated || namespace === undefined || name === undefined || user.uid === '' || !user.groups.includes('system:serviceaccounts')) throw denied();
  // An API server that knows nothing of audiences leaves them out (its own documentation): then the token was not checked for ours.
  if (audience !== '' && !audiences.includes(audience)) throw denied();
  return { name, namespace, uid: user.uid };
}

/** One message for every token that is not good. */
function denied(): PurserError {
  return new PurserError('ERR_REQUEST_DENIED', 'permission denied');
}

function failed(reason: string): PurserError {
  return new PurserError('ERR_AUTH_PROVIDER', `the Kubernetes API server could not be asked: ${reason}`, { hint: 'check kubernetes_host, kubernetes_ca_cert and token_reviewer_jwt (it needs the role system:auth-delegator)' });
}

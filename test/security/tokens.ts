// Tokens with given policies for the tests of this folder.

import type { TestServer } from '../server/running.ts';

export interface MadeToken { readonly token: string; readonly accessor: string }

/** Writes `policy` under `name` and makes a token that has it. */
export async function tokenWith(server: TestServer, name: string, policy: string, more: object = {}): Promise<MadeToken> {
  await server.call('PUT', `sys/policies/acl/${name}`, { body: { policy } });
  const answer: { readonly body: unknown } = await server.call('POST', 'auth/token/create', { body: { policies: [name], ...more } });
  const { client_token: token, accessor } = (answer.body as { auth: { client_token: string; accessor: string } }).auth;
  return { token, accessor };
}

// The claims of a node's login JWT (PROTOCOL.md 1.1), shared by the node that signs and the core that checks.

import { z } from 'zod';

/** Longest life of a login JWT, in seconds. */
export const LOGIN_SECONDS = 60;
/** How far the clocks of node and core may differ, in seconds. */
export const CLOCK_LEEWAY_SECONDS = 60;

const seconds = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER / 1000);

export const loginClaimsSchema = z.strictObject({
  iss: z.string().max(64), sub: z.string().max(64), aud: z.string().max(256),
  iat: seconds, exp: seconds,
  jti: z.string().regex(/^[A-Za-z0-9_-]{16,64}$/),
  swarm_node_id: z.string().regex(/^[a-z0-9]{1,64}$/).optional(),
  version: z.string().max(64).optional(),
});
export type LoginClaims = z.infer<typeof loginClaimsSchema>;

/** The only audience a core of this cluster accepts. */
export function loginAudience(clusterId: string): string {
  return `purser:${clusterId}`;
}

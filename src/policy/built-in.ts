// The policies every core has. `default` may be edited, never deleted; the others are fixed and not for operators to assign
// or see (`root` excepted).

import { parsePolicy } from './parse.ts';
import type { Policy } from './policy.ts';
import { ROOT_POLICY } from './policy.ts';

/** What every token may do unless it was made without it: look after itself, its leases, its cubbyhole and wrapped responses. */
export const DEFAULT_POLICY_TEXT = `# What every token may do. Edit it as you like; it cannot be deleted.

# The token itself: look it up, renew it, revoke it.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# Its own entity, if it came from a login.
path "identity/entity/id/{{identity.entity.id}}"     { capabilities = ["read"] }
path "identity/entity/name/{{identity.entity.name}}" { capabilities = ["read"] }

# What may I do on these paths?
path "sys/capabilities-self"        { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }

# Leases: knowing a lease's id is the permission.
path "sys/renew"         { capabilities = ["update"] }
path "sys/leases/renew"  { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }

# Storage of its own, gone when the token is.
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }

# Wrap a response, look a wrapping token up, unwrap it.
path "sys/wrapping/wrap"   { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }

# Hash data; ask about a pending authorization.
path "sys/tools/hash"            { capabilities = ["update"] }
path "sys/tools/hash/*"          { capabilities = ["update"] }
path "sys/control-group/request" { capabilities = ["update"] }
`;

/** The only policy of a wrapping token, and of no other token. */
export const RESPONSE_WRAPPING = 'response-wrapping';

const RESPONSE_WRAPPING_TEXT = `path "cubbyhole/response"  { capabilities = ["create", "read"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
`;

/** A node's token (wire/PROTOCOL.md section 1): its own calls and the care of its token, no secret path at all. */
const NODE_TEXT = `path "node/resolve"      { capabilities = ["update"] }
path "node/identity"     { capabilities = ["update"] }
path "node/usage"        { capabilities = ["update"] }
path "node/swarm-secret" { capabilities = ["update"] }
path "node/swarm-tasks"  { capabilities = ["update"] }
path "node/watch"        { capabilities = ["read"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
`;

export interface BuiltInPolicy {
  readonly policy: Policy;
  /** The API refuses to write it. */
  readonly isImmutable: boolean;
  /** The API does not list it and a token request cannot name it. */
  readonly isInternal: boolean;
}

/** By name. Not one of them can be deleted. */
export const BUILT_IN_POLICIES: ReadonlyMap<string, BuiltInPolicy> = new Map([
  { policy: ROOT_POLICY, isImmutable: true, isInternal: false },
  { policy: parsePolicy('default', DEFAULT_POLICY_TEXT), isImmutable: false, isInternal: false },
  { policy: parsePolicy(RESPONSE_WRAPPING, RESPONSE_WRAPPING_TEXT), isImmutable: true, isInternal: true },
  { policy: parsePolicy('purser-node', NODE_TEXT), isImmutable: true, isInternal: true },
].map((builtIn) => [builtIn.policy.name, builtIn]));

import test from 'node:test';
import assert from 'node:assert/strict';
import { compileAcl } from '../../src/policy/policy-set.ts';
import type { AclRequest } from '../../src/policy/acl.ts';
import { BUILT_IN_POLICIES } from '../../src/policy/built-in.ts';
import { ROOT_POLICY } from '../../src/policy/policy.ts';

const SUBJECT = { id: 'id-1', name: 'ann', metadata: {}, aliases: [] };
const aclOf = (name: string) => {
  const builtIn = BUILT_IN_POLICIES.get(name);
  assert.ok(builtIn);
  return compileAcl([builtIn.policy], SUBJECT);
};

test('BUILT_IN_POLICIES are root, default, response-wrapping and purser-node, and only default is editable', () => {
  assert.deepEqual([...BUILT_IN_POLICIES].map(([name, { isImmutable, isInternal }]) => [name, isImmutable, isInternal]),
    [['root', true, false], ['default', false, false], ['response-wrapping', true, true], ['purser-node', true, true]]);
  assert.equal(BUILT_IN_POLICIES.get('root')?.policy, ROOT_POLICY);
});

const GRANTS: Readonly<Record<string, readonly (readonly [AclRequest['operation'], string])[]>> = {
  'default': [
    ['read', 'auth/token/lookup-self'], ['update', 'auth/token/renew-self'], ['update', 'auth/token/revoke-self'], ['update', 'sys/capabilities-self'],
    ['read', 'identity/entity/id/id-1'], ['read', 'identity/entity/name/ann'], ['read', 'sys/internal/ui/resultant-acl'], ['update', 'sys/renew'], ['update', 'sys/leases/renew'], ['update', 'sys/leases/lookup'],
    ['create', 'cubbyhole/a/b'], ['read', 'cubbyhole/a'], ['list', 'cubbyhole/'], ['list', 'cubbyhole/a'], ['delete', 'cubbyhole/a'],
    ['update', 'sys/wrapping/wrap'], ['update', 'sys/wrapping/lookup'], ['update', 'sys/wrapping/unwrap'], ['update', 'sys/tools/hash'], ['update', 'sys/tools/hash/sha2-256'], ['update', 'sys/control-group/request'],
  ],
  'response-wrapping': [['create', 'cubbyhole/response'], ['read', 'cubbyhole/response'], ['update', 'sys/wrapping/unwrap']],
  'purser-node': [['update', 'node/resolve'], ['update', 'node/usage'], ['update', 'node/swarm-secret'], ['update', 'node/swarm-tasks'], ['read', 'node/watch'], ['read', 'auth/token/lookup-self'], ['update', 'auth/token/renew-self'], ['update', 'auth/token/revoke-self']],
};
const NEVER: readonly (readonly [AclRequest['operation'], string])[] = [
  ['read', 'identity/entity/id/id-2'], ['read', 'identity/entity/name/bob'], ['list', 'identity/entity/id/'], ['read', 'secret/data/x'], ['list', 'secret/metadata/'], ['update', 'auth/token/create'], ['update', 'auth/token/lookup'], ['read', 'sys/policies/acl/default'], ['update', 'sys/seal'],
  ['update', 'sys/leases/revoke'], ['read', 'auth/node/nodes/x'], ['update', 'auth/node/join-token'], ['read', 'sys/usage'], ['read', 'node/resolve'], ['update', 'node/watch'], ['list', 'node/'],
];

for (const [name, grants] of Object.entries(GRANTS)) {
  test(`the ${name} policy grants its own calls, no sudo and nothing else`, () => {
    const acl = aclOf(name);
    for (const [operation, path] of grants) assert.equal(acl.check({ operation, path }).allowed, true, `${operation} ${path}`);
    for (const [operation, path] of [...grants, ...NEVER]) {
      assert.equal(acl.check({ operation, path, isSudoPath: true }).allowed, false, path);
      if (!grants.some((grant) => grant[0] === operation && grant[1] === path)) assert.equal(acl.check({ operation, path }).allowed, false, `${operation} ${path}`);
    }
  });
}

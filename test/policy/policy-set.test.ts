// A set whose policies were changed one by one decides as one compiled anew from what it then holds.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { parsePolicy } from '../../src/policy/parse.ts';
import { compileAcl, PolicySet } from '../../src/policy/policy-set.ts';
import type { Policy } from '../../src/policy/policy.ts';

const rulePath = fc.constantFrom('a', 'a/b', 'a/*', 'a*', 'ab*', 'a/+', '+/b', '+/b*', '+', '*', 'a/+/*', '+/+/c', 'b/+/c*', 'u/{{identity.entity.name}}', 'u/ann', 'u/+');
const capability = fc.constantFrom('create', 'read', 'update', 'list', 'sudo', 'deny');
const ruleSet = fc.array(fc.record({ path: rulePath, capabilities: fc.uniqueArray(capability, { maxLength: 3 }), min_wrapping_ttl: fc.constantFrom(0, 10) }), { maxLength: 6 });
const change = fc.record({ name: fc.constantFrom('p', 'q', 'r'), rules: fc.option(ruleSet, { freq: 4 }) });
const PATHS = ['a', 'a/', 'a/b', 'a/b/c', 'ab', 'abc', 'b', 'b/x/c', 'b/x/cd', 'u/ann', 'u/bob', 'x/y/c'];
const OPERATIONS = ['create', 'read', 'update', 'list'] as const;
const ANN = { id: '1', name: 'ann', metadata: {}, aliases: [] };

const policyOf = (name: string, rules: readonly { path: string }[]): Policy =>
  parsePolicy(name, JSON.stringify({ path: rules.map(({ path, ...rule }) => ({ [path]: rule })) }));
const decisions = (acl: ReturnType<PolicySet['for']>) => PATHS.flatMap((path) =>
  [acl.capabilities(path), ...OPERATIONS.map((operation) => acl.check({ path, operation, wrapTtlSeconds: 20 }))]);

test('set() leaves a set that decides, and names who granted, as one compiled from the same policies', () => {
  let granted = 0;
  fc.assert(fc.property(fc.array(change, { minLength: 2, maxLength: 10 }), (changes) => {
    const set = new PolicySet();
    const policies = new Map<string, Policy>();
    const early = set.for(undefined);
    for (const { name, rules } of changes) {
      const policy = rules === null ? undefined : policyOf(name, rules);
      set.set(name, policy);
      if (policy === undefined) policies.delete(name);
      else policies.set(name, policy);
      for (const subject of [undefined, ANN]) {
        const fresh = decisions(compileAcl([...policies.values()].reverse(), subject));
        assert.deepEqual(decisions(set.for(subject)), fresh);
        granted += fresh.filter((one) => 'allowed' in one && one.allowed).length;
      }
      if (![...policies.values()].some(({ templates }) => templates.length > 0)) assert.deepEqual(decisions(early), decisions(set.for(undefined)));
    }
    for (const name of ['p', 'q', 'r']) set.set(name, undefined);
    assert.deepEqual([set.for(ANN).rules(), decisions(set.for(ANN))], [[], decisions(compileAcl([]))]);
  }), { numRuns: 500 });
  assert.ok(granted > 1_000, String(granted));
});

test('for() gives the same ACL until the set or the subject changes', () => {
  const set = new PolicySet();
  set.set('p', policyOf('p', [{ path: 'u/{{identity.entity.name}}' }]));
  const [first, other] = [set.for(ANN), set.for({ ...ANN })];
  assert.equal(set.for(ANN), first);
  assert.notEqual(other, first);
  set.set('q', policyOf('q', []));
  assert.notEqual(set.for(ANN), first);
});

test('set() of many policies for one path costs little each, and the path still knows all of them', () => {
  const set = new PolicySet();
  const began = performance.now();
  for (let n = 0; n < 2_000; n++) set.set(`p${n}`, policyOf(`p${n}`, [{ path: 'shared' }, { path: `own/${n}` }].map((rule) => ({ ...rule, capabilities: ['read'] }))));
  assert.ok(performance.now() - began < 30_000);
  assert.equal(set.for(undefined).check({ path: 'shared', operation: 'read' }).grantingPolicies.length, 2_000);
});

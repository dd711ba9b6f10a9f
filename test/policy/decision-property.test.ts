import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { compileAcl } from '../../src/policy/policy-set.ts';
import { parsePolicy } from '../../src/policy/parse.ts';
import { decides, type Stanza } from './reference-decision.ts';

// Few words, so that paths, names and values meet all the time.
const path = fc.oneof({ weight: 5, arbitrary: fc.constantFrom('a/b', 'a/*') }, { weight: 4, arbitrary: fc.constantFrom('a', 'a/b', 'a/', 'a/*', 'a/+', '+/b', '+', '*', 'a/b*', '+/*', 'a/+/*') }, { weight: 1, arbitrary: fc.constantFrom('b', 'b/+/c', 'a*', 'a/b/c', '+/+') });
const requestPath = fc.constantFrom('a', 'a/b', 'a/b', 'a/b', 'a/b/c', 'a/x', 'b/b', 'b/x/c', 'ab');
const capability = fc.constantFrom('create', 'read', 'update', 'patch', 'delete', 'list', 'sudo');
const capabilities = fc.oneof({ weight: 8, arbitrary: fc.uniqueArray(capability, { minLength: 2, maxLength: 7 }) }, { weight: 1, arbitrary: fc.constant(['deny', 'read']) });
const name = fc.constantFrom('p', 'q', 'P', '*');
const value = fc.constantFrom('x', 'xy', 'x*', '*y', '*', '**', '', 1, true, null);
const parameters = fc.dictionary(name, fc.array(value, { maxLength: 2 }), { maxKeys: 3 })
  .filter((rules) => new Set(Object.keys(rules).map((key) => key.toLowerCase())).size === Object.keys(rules).length)
  .map((rules) => ({ ...rules }));
const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined, freq: 3 });
const ttls = fc.oneof(fc.constant({}), fc.record({ min_wrapping_ttl: optional(fc.constantFrom(0, 10, 60)), max_wrapping_ttl: optional(fc.constantFrom(60, 90)) }));
const stanza: fc.Arbitrary<Stanza> = fc.tuple(
  fc.record({ path, capabilities, required_parameters: optional(fc.uniqueArray(fc.constantFrom('p', 'Q'), { maxLength: 1 })), allowed_parameters: optional(parameters), denied_parameters: optional(parameters) }), ttls,
).map(([rule, limits]) => JSON.parse(JSON.stringify({ ...rule, ...limits })) as Stanza);
const request = fc.record({
  path: requestPath, operation: fc.constantFrom('create' as const, 'read' as const, 'update' as const, 'patch' as const, 'delete' as const, 'list' as const),
  data: fc.dictionary(fc.constantFrom('p', 'q', 'r'), fc.constantFrom('x', 'xy', 'zy', '', '*', 1, true, null), { maxKeys: 2 }).map((data) => ({ ...data })), isSudoPath: fc.boolean(), wrapTtlSeconds: fc.constantFrom(undefined, 5, 30, 60, 75, 91),
});
type Asked = typeof request extends fc.Arbitrary<infer T> ? T : never;

/** Asks both about every request; counts the outcomes, since a property over denials alone would prove little. */
function agree(spread: readonly (readonly [number, Stanza])[], requests: readonly Asked[], seen: { allowed: number; denied: number }): void {
  const acl = compileAcl([0, 1, 2].map((policy) => parsePolicy(`p${policy}`, JSON.stringify({
    path: spread.filter(([of]) => of === policy).map(([, { path: text, ...rule }]) => ({ [text]: rule })),
  }))));
  for (const wanted of requests) {
    const { wrapTtlSeconds, ...others } = wanted;
    const decision = acl.check({ ...others, ...(wrapTtlSeconds === undefined ? {} : { wrapTtlSeconds }) });
    assert.equal(decision.allowed, decides(spread.map(([, rule]) => rule), wanted), `${JSON.stringify(wanted)}\n${JSON.stringify(spread)}`);
    assert.equal(decision.grantingPolicies.length > 0, decision.allowed);
    seen[decision.allowed ? 'allowed' : 'denied'] += 1;
  }
}

test('check() agrees with a slow, obvious reading of POLICY.md on capabilities, sudo, parameters and wrapping', () => {
  const seen = { allowed: 0, denied: 0 };
  fc.assert(fc.property(fc.array(fc.tuple(fc.nat(2), stanza), { minLength: 1, maxLength: 6 }), fc.array(request, { minLength: 1, maxLength: 8 }), (spread, requests) => {
    agree(spread, requests, seen);
  }), { numRuns: 2000 });
  assert.ok(seen.allowed > 500 && seen.denied > 500, `both outcomes occur often: ${JSON.stringify(seen)}`);
});

test('check() agrees with it on one path that several policies speak of', () => {
  const seen = { allowed: 0, denied: 0 };
  const only = { path: 'a', capabilities: ['create', 'read', 'update', 'patch', 'delete', 'list', 'sudo'] };
  const limits = fc.constantFrom({}, { min_wrapping_ttl: 10 }, { min_wrapping_ttl: 60 }, { max_wrapping_ttl: 60 }, { max_wrapping_ttl: 90 }, { min_wrapping_ttl: 10, max_wrapping_ttl: 90 });
  const lists = fc.record({ p: fc.array(fc.constantFrom('x', '*y', 1), { maxLength: 1 }), q: fc.array(fc.constantFrom('x', 'x*'), { maxLength: 1 }) }, { requiredKeys: [] }).map((rules) => ({ ...rules }));
  const part = fc.oneof(lists.map((rules) => ({ allowed_parameters: rules })), lists.map((rules) => ({ denied_parameters: rules })), limits).map((more): Stanza => ({ ...only, ...more }));
  fc.assert(fc.property(fc.array(fc.tuple(fc.nat(2), part), { minLength: 2, maxLength: 3 }), fc.array(request, { minLength: 4, maxLength: 8 }), (spread, requests) => {
    agree(spread, requests.map((wanted) => ({ ...wanted, path: 'a' })), seen);
  }), { numRuns: 2000 });
  assert.ok(seen.allowed > 500 && seen.denied > 500, `both outcomes occur often: ${JSON.stringify(seen)}`);
});

import test from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { compileAcl } from '../../src/policy/policy-set.ts';
import { parsePolicy } from '../../src/policy/parse.ts';
import { isAllowed } from './reference-matcher.ts';

// Few letters and few segments, so that rules and paths collide all the time.
const segment = fc.constantFrom('', 'a', 'b', 'ab', 'üü', '((', '+', '+', '+b', 'a+', '*', '__proto__');
const rulePath = fc.tuple(fc.array(segment, { minLength: 1, maxLength: 5 }), fc.constantFrom('', '', '*', 'a*', '/*'))
  .map(([segments, end]) => (segments.join('/') + end).replace(/^\/+/, ''))
  .filter((path) => !path.includes('+*'));
const capability = fc.constantFrom('create', 'read', 'update', 'patch', 'delete', 'list', 'deny');
const rules = fc.array(fc.record({ path: rulePath, capabilities: fc.uniqueArray(capability, { maxLength: 4 }) }), { maxLength: 12 });
const requestPath = fc.array(fc.constantFrom('', 'a', 'b', 'ab', 'abc', 'üü', '((', '+', '*', '__proto__'), { minLength: 1, maxLength: 6 })
  .map((segments) => segments.join('/').replace(/^\/+/, ''));
const operation = fc.constantFrom('create' as const, 'read' as const, 'update' as const, 'patch' as const, 'delete' as const, 'list' as const);

test('check() agrees with a slow, obvious matcher on random rules and paths', () => {
  fc.assert(fc.property(rules, fc.array(fc.tuple(operation, requestPath), { minLength: 1, maxLength: 20 }), (ruleSet, requests) => {
    const text = ruleSet.map(({ path, capabilities }) => `path ${JSON.stringify(path)} { capabilities = ${JSON.stringify(capabilities)} }`).join('\n');
    const acl = compileAcl([parsePolicy('p', text)]);
    for (const [wanted, path] of requests) {
      assert.equal(acl.check({ operation: wanted, path }).allowed, isAllowed(ruleSet, wanted, path), `${wanted} ${path}\n${text}`);
    }
  }), { numRuns: 2000 });
});

test('check() does not depend on the order of policies or on how stanzas are spread over them', () => {
  fc.assert(fc.property(rules, fc.infiniteStream(fc.boolean()), operation, requestPath, (ruleSet, choice, wanted, path) => {
    const policyOf = (name: string, part: typeof ruleSet) => parsePolicy(name,
      JSON.stringify({ path: part.map((rule) => ({ [rule.path]: { capabilities: rule.capabilities } })) }));
    const left = ruleSet.filter(() => choice.next().value === true);
    const right = ruleSet.filter((rule) => !left.includes(rule));
    assert.equal(compileAcl([policyOf('b', right), policyOf('a', left.toReversed())]).check({ operation: wanted, path }).allowed,
      compileAcl([policyOf('a', ruleSet)]).check({ operation: wanted, path }).allowed);
  }), { numRuns: 500 });
});

test('parsePolicy() answers any text with a policy or ERR_POLICY_SYNTAX, never with another error', () => {
  const fragment = fc.constantFrom('path', ' "a" ', '{', '}', '[', ']', ',', '=', ':', 'capabilities', '"read"', '#', '/*', '*/', '<<E\n', 'E\n', '\\', '"', '-1', '1e9', 'true', 'null', '\n', '${', '\u0000', '\ud800', '{"path":');
  fc.assert(fc.property(fc.array(fc.oneof(fragment, fc.string({ maxLength: 4 })), { maxLength: 30 }), (fragments) => {
    try {
      parsePolicy('p', fragments.join(''));
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'ERR_POLICY_SYNTAX', String(error));
    }
  }), { numRuns: 2000 });
});

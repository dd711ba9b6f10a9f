// Identity templates: what they become, and that no value an identity provider may send widens a policy or loses a rule.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compileAcl, compilePolicies } from '../../src/policy/policy-set.ts';
import { parsePolicy } from '../../src/policy/parse.ts';
import { fillTemplate, parsePathTemplate, type TemplateAlias, type TemplateSubject } from '../../src/policy/path-template.ts';
import { isPurserError } from '../../src/lib/errors.ts';

const alias = (mountAccessor: string, name: string, more: Partial<TemplateAlias> = {}): TemplateAlias =>
  ({ id: `alias-${name}`, mountAccessor, name, metadata: {}, customMetadata: {}, ...more });
const ANN: TemplateSubject = {
  id: '7f3a', name: 'ann', metadata: { team: 'red', 'a.b': 'dotted', empty: '' },
  aliases: [alias('auth_jwt_1', 'ann@x.org', { metadata: { org: 'x' }, customMetadata: { desk: '9' } }), alias('auth_userpass_2', 'ann')],
};
const named = (name: string): TemplateSubject => ({ id: 'id', name, metadata: { value: name }, aliases: [alias('a_1', name)] });
const aclFor = (text: string, subject: TemplateSubject | undefined) => compileAcl([parsePolicy('p', text)], subject);
const rule = (path: string, ...capabilities: readonly string[]) => `path ${JSON.stringify(path)} { capabilities = ${JSON.stringify(capabilities)} }\n`;

const FILLED: readonly (readonly [string, string])[] = [
  ['a/{{identity.entity.id}}', 'a/7f3a'],
  ['/a/{{ identity.entity.name }}/*', 'a/ann/*'],
  ['{{identity.entity.name}}', 'ann'],
  ['a/team-{{identity.entity.metadata.team}}-x/{{identity.entity.id}}', 'a/team-red-x/7f3a'],
  ['a/{{identity.entity.metadata.a.b}}', 'a/dotted'],
  ['a/{{identity.entity.aliases.auth_jwt_1.name}}', 'a/ann@x.org'],
  ['a/{{identity.entity.aliases.auth_userpass_2.id}}', 'a/alias-ann'],
  ['a/{{identity.entity.aliases.auth_jwt_1.metadata.org}}', 'a/x'],
  ['a/+/{{identity.entity.aliases.auth_jwt_1.custom_metadata.desk}}/+', 'a/+/9/+'],
];
for (const [path, filled] of FILLED) {
  test(`fillTemplate() makes ${filled} of ${path}`, () => {
    const template = parsePathTemplate(path);
    assert.ok(typeof template !== 'string');
    const pattern = fillTemplate(template, ANN);
    assert.equal(typeof pattern === 'string' ? pattern : pattern.text, filled);
  });
}

for (const path of ['a/{{identity.entity.metadata.none}}', 'a/{{identity.entity.metadata.__proto__}}', 'a/{{identity.entity.metadata.constructor}}',
  'a/{{identity.entity.aliases.auth_other.name}}', 'a/{{identity.entity.aliases.auth_jwt_1.metadata.none}}']) {
  test(`fillTemplate() finds nothing for ${path}`, () => {
    const template = parsePathTemplate(path);
    assert.ok(typeof template !== 'string');
    assert.equal(fillTemplate(template, ANN), 'absent');
    assert.equal(fillTemplate(template, undefined), 'absent');
  });
}

const REFUSED: readonly (readonly [string, string])[] = [
  ['a/{{identity.entity.nam}}', 'not known'], ['a/{{identity.entity}}', 'not known'], ['a/{{}}', 'not known'], ['a/{{identity.entity.metadata.}}', 'not known'],
  ['a/{{identity.groups.names.x.id}}', 'not known'], ['a/{{identity.entity.aliases.x}}', 'not known'], ['a/{{identity.entity.aliases.x.policies}}', 'not known'],
  ['a/{{identity.entity.aliases..name}}', 'not known'], ['a/{{identity.entity.aliases.x.metadata.}}', 'not known'], ['a/{{Identity.entity.id}}', 'not known'],
  ['a/{{identity.entity.metadata.{{identity.entity.name}}}}', 'not known'], ['a/{{identity.entity.id', 'pair up'], ['a/identity.entity.id}}', 'pair up'], ['a/{{identity.entity.id}}}}', 'pair up'],
  ['a/{{identity.entity.name}}*', "'*' right behind"], ['a/{{identity.entity.id}}{{identity.entity.name}}', 'one segment'], ['a/{{identity.entity.id}}-{{identity.entity.name}}/x', 'one segment'],
];
for (const [path, reason] of REFUSED) {
  test(`parsePolicy() refuses the template in ${path}`, () => {
    assert.throws(() => parsePolicy('p', rule(path, 'read')), (error: unknown) => isPurserError(error, 'ERR_POLICY_SYNTAX') && error.message.includes(reason) && error.hint !== undefined);
  });
}

const UNSAFE = ['', '*', '+', 'a*', '*a', '+a', 'a+b', 'a/b', '/', '../x', '..', '.', 'a..b', '{{identity.entity.id}}', '}}', '{', 'a\u0000', 'a\nb', '\u007f', 'a\u200bb', '\u202eb', '\ufeff',
  '\ud800', '\u0378', 'a\u00a0b', '\u2028', ' a', 'a ', 'a\\b', 'x'.repeat(257)];
for (const value of UNSAFE) {
  test(`a template grants nothing for the value ${JSON.stringify(value.slice(0, 20))}, wherever it comes from`, () => {
    for (const source of ['name', 'metadata.value', 'aliases.a_1.name']) {
      const acl = aclFor(rule(`u/{{identity.entity.${source}}}/*`, 'read', 'list') + rule('*', 'read', 'list'), named(value));
      for (const path of ['u/', 'u/x', 'u/a/b', `u/${value}/x`, `u/${value}`]) {
        if (path !== 'u/') assert.equal(acl.check({ path, operation: 'read' }).allowed, false, `${source} ${path}`);
        assert.equal(acl.check({ path, operation: 'list' }).allowed, false, `${source} ${path}`);
        assert.deepEqual(acl.capabilities(path), ['deny']);
      }
      assert.equal(acl.check({ path: 'v/x', operation: 'read' }).allowed, true, 'what is not below the prefix is as it was');
      assert.equal(acl.hasAccessBelow('u/'), false);
      assert.equal(acl.hasAccessBelow('v/'), true);
    }
  });
}

test('a value that makes a segment of dots fills nothing', () => {
  const acl = aclFor(rule('a/.{{identity.entity.name}}/x', 'read'), named('.'));
  assert.equal(acl.check({ path: 'a/../x', operation: 'read' }).allowed, false);
});

test('of two aliases at one mount neither speaks for the other', () => {
  const both: TemplateSubject = { ...ANN, aliases: [alias('a_1', 'ann'), alias('a_1', 'bob')] };
  const acl = aclFor(rule('u/{{identity.entity.aliases.a_1.name}}', 'read'), both);
  for (const name of ['ann', 'bob']) assert.equal(acl.check({ path: `u/${name}`, operation: 'read' }).allowed, false);
});

test('a caller without an entity gets what is not templated, and a templated deny denies below its prefix', () => {
  const text = rule('u/{{identity.entity.name}}/*', 'read') + rule('u/shared', 'read') + rule('v/+/{{identity.entity.name}}', 'deny') + rule('v/*', 'read') + rule('w/*', 'read');
  const acl = aclFor(text, undefined);
  assert.deepEqual(['u/ann/x', 'u/shared', 'v/a/ann', 'v/a', 'w/a'].map((path) => acl.check({ path, operation: 'read' }).allowed), [false, true, false, false, true]);
  const ann = aclFor(text, ANN);
  assert.deepEqual(['u/ann/x', 'u/shared', 'v/a/ann', 'v/a', 'w/a'].map((path) => ann.check({ path, operation: 'read' }).allowed), [true, true, false, true, true]);
});

test('a filled rule and a written one of the same path are one rule: capabilities united, deny wins', () => {
  const acl = compileAcl([
    parsePolicy('t', rule('u/{{identity.entity.name}}', 'read') + rule('d/{{identity.entity.name}}', 'deny') + rule('p/{{identity.entity.name}}/*', 'list') + rule('s/{{identity.entity.name}}/+/x', 'read')),
    parsePolicy('w', rule('u/ann', 'update') + rule('d/ann', 'read') + rule('p/ann/*', 'read') + rule('s/ann/+/x', 'update')),
  ], ANN);
  assert.deepEqual(acl.capabilities('u/ann'), ['read', 'update']);
  assert.deepEqual(acl.capabilities('d/ann'), ['deny']);
  assert.deepEqual(acl.capabilities('p/ann/x'), ['list', 'read']);
  assert.deepEqual(acl.capabilities('s/ann/q/x'), ['read', 'update']);
  assert.deepEqual(acl.check({ path: 'u/ann', operation: 'read' }).grantingPolicies, ['t']);
});

test('compilePolicies() keeps one ACL for a subject, and the plain one where there is no template', () => {
  const templated = compilePolicies([parsePolicy('p', rule('u/{{identity.entity.name}}', 'read'))]);
  assert.equal(templated.for(ANN), templated.for(ANN));
  assert.notEqual(templated.for(ANN), templated.for({ ...ANN }));
  const plain = compilePolicies([parsePolicy('p', rule('u/ann', 'read'))]);
  assert.equal(plain.for(ANN), plain.for(undefined));
});

const anyValue = fc.oneof(fc.string({ unit: 'binary', maxLength: 8 }), fc.array(fc.constantFrom('a', 'b', '/', '*', '+', '.', '{{', '}}', ' ', '\u0000', 'ü'), { maxLength: 5 }).map((parts) => parts.join('')));
const anyPath = fc.array(fc.oneof(fc.constantFrom('a', 'b', 'ab', '*', '+', '..', ''), anyValue), { minLength: 1, maxLength: 4 }).map((segments) => `u/${segments.join('/')}`);

test('whatever the value: a path is granted only when its segment is exactly the value', () => {
  fc.assert(fc.property(anyValue, anyPath, fc.constantFrom('read' as const, 'list' as const), (value, path, operation) => {
    const acl = aclFor(rule('u/{{identity.entity.name}}/*', 'read', 'list'), named(value));
    if (acl.check({ path, operation }).allowed) assert.equal(path.split('/')[1], value);
  }), { numRuns: 3000 });
});

test('whatever the values: two entities with different names never share a path', () => {
  fc.assert(fc.property(anyValue, anyValue, anyPath, (left, right, path) => {
    fc.pre(left !== right);
    for (const text of [rule('u/{{identity.entity.name}}/*', 'read'), rule('u/a{{identity.entity.name}}b', 'read')]) {
      assert.ok(![left, right].every((name) => aclFor(text, named(name)).check({ path, operation: 'read' }).allowed), path);
    }
  }), { numRuns: 3000 });
});

test('whatever the value: a templated deny never lets through what it was written to deny', () => {
  fc.assert(fc.property(anyValue, fc.constantFrom('read' as const, 'list' as const), (value, operation) => {
    const acl = aclFor(rule('u/{{identity.entity.name}}/*', 'deny') + rule('*', 'read', 'list'), named(value));
    assert.equal(acl.check({ path: `u/${value}/x`, operation }).allowed, false);
  }), { numRuns: 3000 });
});

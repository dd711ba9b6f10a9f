import test from 'node:test';
import assert from 'node:assert/strict';
import { parsePolicy } from '../../src/policy/parse.ts';
import type { Policy } from '../../src/policy/policy.ts';
import { isPurserError } from '../../src/lib/errors.ts';

/** Rules as plain data. */
const plain = (policy: Policy) => policy.rules.map((rule) => ({
  path: rule.pattern.text,
  capabilities: [...rule.capabilities].sort(),
  ...(rule.allowedParameters.size > 0 && { allowed: [...rule.allowedParameters] }),
  ...(rule.deniedParameters.size > 0 && { denied: [...rule.deniedParameters] }),
  ...(rule.requiredParameters.size > 0 && { required: [...rule.requiredParameters] }),
  ...(rule.minWrappingTtlSeconds > 0 && { min: rule.minWrappingTtlSeconds }),
  ...(rule.maxWrappingTtlSeconds > 0 && { max: rule.maxWrappingTtlSeconds }),
}));
const READ_A = [{ path: 'a', capabilities: ['read'] }];

const VALID: readonly (readonly [string, string, unknown])[] = [
  ['nothing', '', []],
  ['only comments and blanks', '\n# a\n// b\n/* c\n */\r\n', []],
  ['a byte order mark', '\uFEFFpath "a" { capabilities = ["read"] }', READ_A],
  ['everything on one line', 'path "a" { capabilities = ["read"] comment = "x" }', READ_A],
  ['commas between items and after the last element', 'path "a" { capabilities = ["read",], comment = "x", }', READ_A],
  ['a list over several lines with comments', 'path "a" {\r\n  capabilities = [ # why\n    "read", // more\n /* x */ ]\n}', READ_A],
  ['unquoted and quoted keys', '"path" a { "capabilities" = ["read"] }', READ_A],
  ['a block with an equals sign and without', 'path "a" { capabilities = ["read"] allowed_parameters = { k = [] } denied_parameters { "l" = ["x"] } }',
    [{ path: 'a', capabilities: ['read'], allowed: [['k', []]], denied: [['l', ['x']]] }]],
  ['a name, which is ignored', 'name = "other"\npath "a" { capabilities = ["read"] }', READ_A],
  ['escapes', 'path "\\"\\\\\\/\\u00e4\\U0001F600" { capabilities = ["read"] }', [{ path: '"\\/ä😀', capabilities: ['read'] }]],
  ['a heredoc', 'path "a" { comment = <<EOT\nanything " { } ${x}\n EOT\n capabilities = ["read"] }', READ_A],
  ['an indented heredoc', 'path "a" { required_parameters = [<<-EOT\n    x\n      y\n    EOT\n] capabilities = ["read"] }', [{ ...READ_A[0], required: ['x\n  y\n'] }]],
  ['every value type', 'path "a" { capabilities = ["read"] allowed_parameters = { "K" = ["s", 1, -2.5, 1e3, true, false, [1], { a = 1, b = [2] }] } }',
    [{ ...READ_A[0], allowed: [['k', ['s', 1, -2.5, 1000, true, false, [1], Object.assign(Object.create(null), { a: 1, b: [2] })]]] }]],
  ['wrapping TTLs', 'path "a" { capabilities = ["read"] min_wrapping_ttl = 300 max_wrapping_ttl = "1h" }', [{ ...READ_A[0], min: 300, max: 3600 }]],
  ['a capability twice', 'path "a" { capabilities = ["read", "read"] }', READ_A],
  ['stanzas for the same path', 'path "a" { policy = "read" }\npath "/a" { capabilities = [] }', [{ path: 'a', capabilities: ['list', 'read'] }, { path: 'a', capabilities: [] }]],
  ['an empty path and a lone slash', 'path "" { policy = "deny" }\npath "/" { policy = "deny" }', [{ path: '', capabilities: ['deny'] }, { path: '', capabilities: ['deny'] }]],
  ['JSON', '{"path": {"a": {"capabilities": ["read"]}}}', READ_A],
  ['JSON with a list of stanzas', ' {"name": "x", "path": [{"a": {"capabilities": ["read"]}}, {"b": {"policy": "deny"}}]}', [...READ_A, { path: 'b', capabilities: ['deny'] }]],
  ['JSON that repeats a path keeps both', '{"path": {"a": {"capabilities": ["read"]}, "a": {"capabilities": ["deny"]}}}', [...READ_A, { path: 'a', capabilities: ['deny'] }]],
  ['JSON with interpolation signs and null', '{"path": {"a": {"capabilities": ["read"], "allowed_parameters": {"k": ["${x}", null]}}}}', [{ ...READ_A[0], allowed: [['k', ['${x}', null]]] }]],
  ['JSON, empty', '{}', []],
  ['names of Object.prototype', '{"path": {"__proto__": {"capabilities": ["read"], "denied_parameters": {"__proto__": []}}}}', [{ path: '__proto__', capabilities: ['read'], denied: [['__proto__', []]] }]],
];

for (const [name, text, expected] of VALID) {
  test(`parsePolicy() reads ${name}`, () => {
    const policy = parsePolicy('p', text);
    assert.deepEqual(plain(policy), expected);
    assert.deepEqual([policy.name, policy.text], ['p', text]);
  });
}

const P = (body: string) => `path "x" {\n${body}\n}`;
const INVALID: readonly (readonly [string, string, string])[] = [
  ['an unknown top-level key', 'name = "x"\nbad = 1', 'invalid key "bad" on line 2'],
  ['a misspelt path', 'paths "x" {}', 'invalid key "paths" on line 1'],
  ['an unknown stanza key', P('capability = ["read"]'), 'path "x": invalid key "capability" on line 2'],
  ['a key of OpenBao', P('expiration = "2030-01-01T00:00:00Z"'), 'path "x": invalid key "expiration" on line 2'],
  ['mfa_methods, which nobody would enforce', P('mfa_methods = ["totp"]'), 'path "x": key "mfa_methods" is not supported on line 2'],
  ['control_group, likewise', P('control_group = { ttl = "1h" }'), 'path "x": key "control_group" is not supported on line 2'],
  ['an unknown capability', P('capabilities = ["read", "banana"]'), 'path "x": invalid capability "banana"'],
  ['a capability in upper case', P('capabilities = ["Read"]'), 'path "x": invalid capability "Read"'],
  ['root as a capability', P('capabilities = ["root"]'), 'path "x": invalid capability "root"'],
  ['an unknown shorthand', P('policy = "banana"'), 'path "x": invalid policy "banana"'],
  ['TTLs the wrong way round', P('min_wrapping_ttl = "2h"\nmax_wrapping_ttl = "1h"'), 'path "x": max_wrapping_ttl cannot be less than min_wrapping_ttl'],
  ['a TTL that is no duration', P('min_wrapping_ttl = "soon"'), 'path "x": error parsing min_wrapping_ttl'],
  ['a negative TTL', P('max_wrapping_ttl = -1'), 'path "x": error parsing max_wrapping_ttl'],
  ['a TTL that is a list', P('max_wrapping_ttl = [1]'), 'path "x": error parsing max_wrapping_ttl'],
  ['+*', 'path "a/+*" {}', 'path "a/+*": invalid use of wildcards (\'+*\' is forbidden) on line 1'],
  ['half a template', '\npath "secret/a}}" {}', 'template braces that do not pair up on line 2'],
  ['a control character in a path', 'path "a\\n" {}', 'control character in the path on line 1'],
  ['a NUL in a path', '{"path": {"a\\u0000": {}}}', 'control character in the path on line 1'],
  ['a path that is too long', `path "${'a'.repeat(1025)}" {}`, 'path longer than 1024 bytes on line 1'],
  ['path without a name', 'path { capabilities = ["read"] }', 'expected one path after "path" on line 1'],
  ['path with two names', 'path "a" "b" {}', 'expected one path after "path" on line 1'],
  ['path with an equals sign', 'path "a" = {}', 'expected "{" on line 1'],
  ['path assigned', 'path = { "a" = { capabilities = ["read"] } }', 'expected one path after "path" on line 1'],
  ['a stanza that is no block', '{"path": {"a": "read"}}', 'path "a": expected a block on line 1'],
  ['path as text in JSON', '{"path": "a"}', '"path" must be an object on line 1'],
  ['capabilities that are no list', P('capabilities = "read"'), 'path "x": capabilities must be a list of strings on line 2'],
  ['capabilities with a number', P('capabilities = [1]'), 'path "x": capabilities must be a list of strings on line 2'],
  ['required_parameters that are no list', P('required_parameters = { a = [] }'), 'path "x": required_parameters must be a list of strings on line 2'],
  ['a policy that is no string', P('policy = ["read"]'), 'path "x": policy must be a string on line 2'],
  ['a comment that is no string', P('comment = 1'), 'path "x": comment must be a string on line 2'],
  ['a name that is no string', 'name = 1', 'name must be a string on line 1'],
  ['parameters that are no block', P('allowed_parameters = ["a"]'), 'path "x": allowed_parameters must be a block on line 2'],
  ['a parameter without a list', P('denied_parameters = { "a" = "SECRET" }'), 'path "x": denied_parameters: every parameter needs a list of values on line 2'],
  ['a parameter twice', P('allowed_parameters = { "a" = [],\n"A" = ["x"] }'), 'path "x": allowed_parameters: a parameter is given twice on line 3'],
  ['a key twice', P('capabilities = ["read"]\ncapabilities = ["deny"]'), 'path "x": key "capabilities" given twice on line 3'],
  ['a block that is never closed', 'path "x" {\n\n', 'expected "}" but the text ends on line 3'],
  ['a block closed twice', 'path "x" {}\n}', 'expected a key on line 2'],
  ['a string that is never closed', 'path "x', 'string not terminated, or with a control character on line 1'],
  ['a string over two lines', 'path "x\n" {}', 'string not terminated'],
  ['a comment that is never closed', '\n/* x', 'comment not terminated on line 2'],
  ['a heredoc that is never closed', 'name = <<E\nx\n', 'heredoc not terminated'],
  ['an unknown escape', 'path "\\q" {}', 'unknown escape in a string on line 1'],
  ['an escape beyond Unicode', 'path "\\UFFFFFFFF" {}', 'unknown escape in a string on line 1'],
  ['a lone surrogate, escaped', 'path "\\ud800" {}', 'string is not well-formed Unicode on line 1'],
  ['a lone surrogate, raw', 'path "\ud800" {}', 'string is not well-formed Unicode on line 1'],
  ['interpolation', 'path "a/${var.x}" {}', 'interpolation is not supported in policies on line 1'],
  ['a number beyond 2^53', P('allowed_parameters = { a = [9007199254740993] }'), 'number out of range on line 2'],
  ['an infinite number', P('allowed_parameters = { a = [1e999] }'), 'number out of range on line 2'],
  ['a number with a leading zero', P('allowed_parameters = { a = [010] }'), 'unexpected character on line 2'],
  ['a bare word as a value', P('policy = read'), 'expected a value on line 2'],
  ['null in HCL', P('allowed_parameters = { a = [null] }'), 'expected a value on line 2'],
  ['two commas', P('capabilities = ["read",,]'), 'expected a value on line 2'],
  ['a missing comma', P('capabilities = ["read" "list"]'), 'expected "," on line 2'],
  ['text behind JSON', '{} path "a" {}', 'expected the end on line 1'],
  ['a trailing comma in JSON', '{"path": {"a": {"capabilities": ["read",]}}}', 'expected a value on line 1'],
  ['a comment in JSON', '{ # x\n}', 'unexpected character on line 1'],
  ['an unquoted key in JSON', '{path: {}}', 'expected a key on line 1'],
  ['a JSON list', '[]', 'expected a key on line 1'],
  ['a control character', 'path "a" {}\u0001', 'unexpected character on line 1'],
  ['a text that is too large', '#'.repeat(512 * 1024 + 1), 'the text is larger than 524288 bytes'],
];

for (const [name, text, message] of INVALID) {
  test(`parsePolicy() refuses ${name}`, () => {
    assert.throws(() => parsePolicy('p', text), (error: unknown) => {
      assert.ok(isPurserError(error, 'ERR_POLICY_SYNTAX'), String(error));
      assert.ok(error.message.startsWith('failed to parse policy: ') && error.message.includes(message), error.message);
      assert.ok(!error.message.includes('SECRET') && error.message.length < 400 && error.hint !== undefined);
      return true;
    });
  });
}

test('parsePolicy() refuses deep nesting and long junk quickly, in HCL and JSON', () => {
  const deep = 100_000;
  for (const text of ['['.repeat(deep), `{"a":`.repeat(deep), `{"path":${'['.repeat(deep)}`, `a = ${'['.repeat(deep)}`, 'a {'.repeat(deep), 'a '.repeat(deep), '"a" '.repeat(deep),
    `a = [${'0,'.repeat(deep)}`, '<<E\n'.repeat(deep), `name = <<E\n${'x\n'.repeat(deep)}`, `name = "${'\\n'.repeat(deep)}`, '/*'.repeat(deep), '\n'.repeat(deep) + '}']) {
    const start = process.hrtime.bigint();
    assert.throws(() => parsePolicy('p', text), (error: unknown) => isPurserError(error, 'ERR_POLICY_SYNTAX'), text.slice(0, 20));
    assert.ok(process.hrtime.bigint() - start < 30_000_000_000n, text.slice(0, 20));
  }
});

test('parsePolicy() refuses to be the root policy', () => {
  assert.throws(() => parsePolicy('root', 'path "*" { policy = "sudo" }'), (error: unknown) => isPurserError(error, 'ERR_POLICY_SYNTAX'));
});

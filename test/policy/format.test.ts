import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { formatPolicy } from '../../src/policy/format.ts';
import { parsePolicy } from '../../src/policy/parse.ts';

const UGLY = `


# who may read
path "secret/data/*"   { capabilities=["read",
"list"]   # both
required_parameters = ["a"]
    min_wrapping_ttl="1s"
}


path "x" {
allowed_parameters = {
"b" = []
"longer" = ["= { # no comment"]
}
capabilities = ["update"]
}
`;
const LAID_OUT = `# who may read
path "secret/data/*"   { capabilities=["read",
    "list"]   # both
  required_parameters = ["a"]
  min_wrapping_ttl    = "1s"
}

path "x" {
  allowed_parameters = {
    "b"      = []
    "longer" = ["= { # no comment"]
  }
  capabilities = ["update"]
}
`;

test('formatPolicy() brings a policy into one layout, keeps its comments, and is idempotent', () => {
  assert.equal(formatPolicy(UGLY), LAID_OUT);
  assert.equal(formatPolicy(LAID_OUT), LAID_OUT);
  assert.equal(formatPolicy('{"path":{"a":{"capabilities":["read"]}}}'), '{\n  "path": {\n    "a": {\n      "capabilities": [\n        "read"\n      ]\n    }\n  }\n}\n');
});

test('formatPolicy() refuses what does not parse, and what it could change', () => {
  for (const text of ['path "a" {', 'path "a" { capabilities = ["fly"] }', 'path "a" { capabilities = ["read"] /* why */ }', 'path "a" { comment = <<E\n  x\nE\ncapabilities = ["read"] }']) {
    assert.throws(() => formatPolicy(text), { code: 'ERR_POLICY_SYNTAX' }, text);
  }
});

test('formatPolicy() never changes what a policy means', () => {
  const word = fc.constantFrom('a', '"x"', '"y=z"', '"# {"', '\\"');
  const line = fc.oneof(fc.constantFrom('}', '{', '', '# note', 'capabilities = ["read"]', 'capabilities=["update","list"]', 'path "a/+" {', 'path "b" {', 'required_parameters = ["q"]', 'allowed_parameters = {', '"k" = []', '] ', 'comment = "}"'), word);
  fc.assert(fc.property(fc.array(fc.tuple(fc.constantFrom('', ' ', '\t  '), line), { maxLength: 12 }), (lines) => {
    const text = lines.map(([blank, content]) => blank + content).join('\n');
    let rules: unknown;
    try {
      rules = parsePolicy('p', text).rules;
    } catch {
      return;
    }
    const formatted = formatPolicy(text);
    assert.deepEqual(parsePolicy('p', formatted).rules, rules);
    assert.equal(formatPolicy(formatted), formatted, 'idempotent');
  }), { numRuns: 3000 });
});

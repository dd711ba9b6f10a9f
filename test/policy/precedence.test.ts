import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { compileAcl } from '../../src/policy/policy-set.ts';
import type { AclRequest } from '../../src/policy/acl.ts';
import { parsePolicy } from '../../src/policy/parse.ts';

interface Vector { readonly name: string; readonly policy: string; readonly checks: readonly (readonly [AclRequest['operation'], string, boolean])[] }

const VECTORS = JSON.parse(readFileSync(new URL('../vectors/policy-precedence.json', import.meta.url), 'utf8')) as readonly Vector[];

for (const { name, policy, checks } of VECTORS) {
  test(`check() decides as in Vault: ${name}`, () => {
    const { rules, ...parsed } = parsePolicy('p', policy);
    // The order of rules must not matter, nor how they are spread over policies.
    const forms = [[{ ...parsed, rules }], [{ ...parsed, rules: rules.toReversed() }], rules.map((rule, index) => ({ ...parsed, name: `p${index}`, rules: [rule] }))];
    for (const form of forms) {
      const acl = compileAcl(form);
      for (const [operation, path, allowed] of checks) assert.equal(acl.check({ operation, path }).allowed, allowed, `${operation} ${path}`);
    }
  });
}

// mergePatch(): the examples of RFC 7396, appendix A, that have objects on both sides, and names that are no prototype.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { JsonObject } from '../../src/lib/json.ts';
import { mergePatch } from '../../src/lib/merge-patch.ts';

for (const [target, patch, result] of [
  ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'], ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'], ['{"a":"b"}', '{"a":null}', '{}'],
  ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'], ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'], ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
  ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'], ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
  ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'], ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
  ['{}', '{"__proto__":{"x":1}}', '{"__proto__":{"x":1}}'], ['{"a":{}}', '{"a":{"__proto__":{"x":1}}}', '{"a":{"__proto__":{"x":1}}}'],
] as const) {
  test(`mergePatch(${target}, ${patch}) is ${result}`, () => {
    assert.equal(JSON.stringify(mergePatch(JSON.parse(target) as JsonObject, JSON.parse(patch) as JsonObject)), result);
    assert.equal(({} as Record<string, unknown>)['x'], undefined);
  });
}

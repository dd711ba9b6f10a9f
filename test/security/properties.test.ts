// Properties over anything at all: a policy text either parses or is refused by name, quickly; what the barrier stored opens as it
// was, at its own place only, and with no byte changed (class 13).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { openCore } from '../../src/core/core.ts';
import { isPurserError } from '../../src/lib/errors.ts';
import { parsePolicy } from '../../src/policy/parse.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';

const token = fc.constantFrom('path', '"a/*"', '"+/b"', '{', '}', '[', ']', '=', ',', ':', 'capabilities', '"read"', '"deny"', 'allowed_parameters', '#', '//', '/*', '*/', '<<EOF', 'EOF', '\n', '"', '\\', '{{identity.entity.name}}', '\u0000', '\ud800', '1h');

test('parsePolicy() of any text gives a policy or ERR_POLICY_SYNTAX, in bounded time', () => {
  const text = fc.oneof(fc.array(token, { maxLength: 60 }).map((parts) => parts.join(' ')), fc.string({ unit: 'binary', maxLength: 200 }), fc.json());
  fc.assert(fc.property(text, (policy) => {
    const began = performance.now();
    try {
      parsePolicy('p', policy);
    } catch (error) {
      assert.ok(isPurserError(error, 'ERR_POLICY_SYNTAX'), String(error));
    }
    assert.ok(performance.now() - began < 20_000);
  }), { numRuns: 500 });
});

test('a record opens as it was written; altered in any bit, cut, or at another place it does not', async () => {
  const storage = new MemoryStorage();
  const { barrier, seal } = openCore(storage);
  const [share] = await seal.initialize({ shares: 1, threshold: 1 });
  await seal.provide(share!);
  const key = fc.stringMatching(/^[a-z]{1,8}(\/[a-z]{1,8}){0,3}$/).map((name) => `logical/${name}`);
  await fc.assert(fc.asyncProperty(key, fc.uint8Array({ maxLength: 300 }), fc.nat(), fc.integer({ min: 0, max: 7 }), async (path, value, at, bit) => {
    await barrier.put(path, value);
    assert.deepEqual(Buffer.from((await barrier.get(path))!), Buffer.from(value));
    const record = (await storage.get(path))!;
    const altered = Buffer.from(record);
    altered[at % altered.length]! ^= 1 << bit;
    for (const bad of [altered, Buffer.from(record).subarray(0, at % record.length)]) {
      await storage.put(path, bad);
      await assert.rejects(barrier.get(path), (error) => isPurserError(error));
    }
    await storage.put(`${path}-moved`, record);
    await assert.rejects(barrier.get(`${path}-moved`), { code: 'ERR_BARRIER_OPEN' });
    await storage.delete(path);
  }), { numRuns: 100 });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Memo } from '../../src/lib/memo.ts';

test('get() computes each result once, and keeps no more than it may', () => {
  const computed: string[] = [];
  const memo = new Memo(2, (text) => { computed.push(text); return text.toUpperCase(); });
  assert.deepEqual(['a', 'b', 'a', 'b', ''].map((text) => memo.get(text)), ['A', 'B', 'A', 'B', '']);
  assert.deepEqual(computed, ['a', 'b', '']);
  assert.equal(memo.get('a'), 'A', 'computed again: it began anew');
  assert.deepEqual(computed, ['a', 'b', '', 'a']);
});

test('get() keeps no long text', () => {
  let computed = 0;
  const memo = new Memo(2, (text) => { computed++; return text; });
  for (let i = 0; i < 3; i++) assert.equal(memo.get('x'.repeat(257)).length, 257);
  assert.equal(computed, 3);
});

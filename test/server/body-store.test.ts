// BodyStore: whatever arrives in whatever pieces, the memory for all bodies together has an end, and comes back.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BodyStore } from '../../src/server/http/body-store.ts';

const KIB = 1024;
const busy = { code: 'ERR_REQUEST_BUSY' };

test('add() gives back what was added, in any pieces', () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 50 }), (pieces) => {
    const body = new BodyStore(1 << 20).open();
    for (const piece of pieces) body.add(Buffer.from(piece));
    assert.deepEqual(body.bytes, Buffer.concat(pieces));
  }));
});

test('add() refuses what would exceed the capacity, and takes it once another body was released', () => {
  const store = new BodyStore(100 * KIB);
  const first = store.open();
  first.add(Buffer.alloc(60 * KIB));
  assert.throws(() => { store.open().add(Buffer.alloc(60 * KIB)); }, busy);
  first.release();
  first.release();
  store.open().add(Buffer.alloc(60 * KIB));
  assert.throws(() => { store.open().add(Buffer.alloc(60 * KIB)); }, busy, 'released once only');
});

test('add() keeps half of the capacity for small bodies', () => {
  const store = new BodyStore(1024 * KIB);
  store.open().add(Buffer.alloc(500 * KIB));
  assert.throws(() => { store.open().add(Buffer.alloc(100 * KIB)); }, busy);
  for (let i = 0; i < 8; i++) store.open().add(Buffer.alloc(60 * KIB));
});

test('add() counts the memory of a body that comes byte by byte, not only its bytes', () => {
  const body = new BodyStore(256 * KIB).open();
  assert.throws(() => { for (;;) body.add(Buffer.from('x')); }, busy);
  assert.ok(body.length <= 128 * KIB && body.length >= 32 * KIB, String(body.length));
});

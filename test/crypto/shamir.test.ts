import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';

import { randomBytes } from '../../src/crypto/random.ts';
import { MAX_SHARES, combineShares, splitSecret } from '../../src/crypto/shamir.ts';

it('combineShares() rebuilds the secret from any threshold of the shares, and from more', async () => {
  await fc.assert(fc.asyncProperty(fc.integer({ min: 2, max: 12 }), fc.nat(), fc.nat(), async (shares, thresholdSeed, order) => {
    const threshold = 2 + thresholdSeed % (shares - 1);
    const secret = randomBytes(32);
    const all = await splitSecret(secret, shares, threshold);
    const turned = [...all.slice(order % shares), ...all.slice(0, order % shares)];
    assert.deepEqual(await combineShares(turned.slice(0, threshold)), secret);
    assert.deepEqual(await combineShares(turned), secret);
  }), { numRuns: 50 });
});

it('combineShares() gives something else from fewer shares', async () => {
  const secret = randomBytes(32);
  const shares = await splitSecret(secret, 5, 3);
  assert.notDeepEqual(await combineShares(shares.slice(0, 2)), secret);
});

it('combineShares() answers undefined for shares that cannot belong together', async () => {
  const [a, b] = await splitSecret(randomBytes(32), 3, 2) as [Uint8Array, Uint8Array];
  assert.equal(await combineShares([a]), undefined);
  assert.equal(await combineShares([a, a]), undefined);
  assert.equal(await combineShares([a, b.subarray(1)]), undefined);
});

it('splitSecret() makes the most shares the field allows, all different', async () => {
  const shares = await splitSecret(randomBytes(32), MAX_SHARES, 2);
  assert.equal(new Set(shares.map((share) => share[32])).size, MAX_SHARES);
  assert.ok(shares.every((share) => share.length === 33 && share[32] !== 0));
});

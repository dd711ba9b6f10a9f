import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { openCore } from '../../src/core/core.ts';
import type { Core } from '../../src/core/core.ts';
import type { SealConfig } from '../../src/core/seal-config.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';

async function sealedCore(config: SealConfig): Promise<Core & { shares: Uint8Array[]; storage: MemoryStorage }> {
  const storage = new MemoryStorage();
  const core = openCore(storage);
  return { ...core, storage, shares: await core.seal.initialize(config) };
}

describe('initialize()', () => {
  for (const [shares, threshold] of [[1, 1], [2, 2], [5, 3], [255, 2], [255, 128], [255, 255]] as const) {
    it(`makes ${shares} shares, and ${threshold} of them unseal`, async () => {
      const { seal, barrier, shares: made } = await sealedCore({ shares, threshold });
      assert.equal(made.length, shares);
      assert.ok(made.every((share) => share.length === (shares === 1 ? 32 : 33)));
      assert.deepEqual(await seal.status(), { initialized: true, sealed: true, shares, threshold, progress: 0, nonce: '' });
      for (const share of made.slice(-threshold)) await seal.provide(share);
      assert.equal(barrier.isSealed, false);
    });
  }

  for (const [config, reason] of [
    [{ shares: 0, threshold: 1 }, 'shares must be at least one'],
    [{ shares: -1, threshold: 1 }, 'shares must be at least one'],
    [{ shares: 1.5, threshold: 1 }, 'shares must be at least one'],
    [{ shares: Number.NaN, threshold: 1 }, 'shares must be at least one'],
    [{ shares: 5, threshold: 0 }, 'threshold must be at least one'],
    [{ shares: 2, threshold: 1 }, 'threshold must be greater than one for multiple shares'],
    [{ shares: 2, threshold: 3 }, 'threshold cannot be larger than shares'],
    [{ shares: 256, threshold: 3 }, 'shares must be less than 256'],
  ] as const) {
    it(`refuses ${JSON.stringify(config)} and stores nothing`, async () => {
      const storage = new MemoryStorage();
      await assert.rejects(openCore(storage).seal.initialize(config), { code: 'ERR_SEAL_CONFIG', message: `invalid seal configuration: ${reason}` });
      assert.deepEqual(await storage.list(''), []);
    });
  }

  it('happens once, also when asked twice at the same time', async () => {
    const core = openCore(new MemoryStorage());
    const [first, second] = await Promise.allSettled([core.seal.initialize({ shares: 1, threshold: 1 }), core.seal.initialize({ shares: 1, threshold: 1 })]);
    assert.equal(first.status, 'fulfilled');
    assert.equal(second.status, 'rejected');
    assert.equal((second.reason as { code: string }).code, 'ERR_SEAL_INITIALIZED');
  });

  it('makes different keys every time', async () => {
    const [a, b] = [await sealedCore({ shares: 1, threshold: 1 }), await sealedCore({ shares: 1, threshold: 1 })];
    assert.notDeepEqual(a.shares, b.shares);
    await assert.rejects(a.seal.provide(b.shares[0]!), { code: 'ERR_SEAL_SHARE' });
  });
});

describe('provide()', () => {
  it('counts different shares, keeps one nonce per attempt, and unseals at the threshold', async () => {
    const { seal, shares } = await sealedCore({ shares: 5, threshold: 3 });
    const first = await seal.provide(shares[4]!);
    assert.deepEqual([first.sealed, first.progress, first.shares, first.threshold], [true, 1, 5, 3]);
    assert.match(first.nonce, /^[0-9a-f-]{36}$/);
    assert.deepEqual(await seal.provide(shares[1]!), { ...first, progress: 2 });
    assert.deepEqual(await seal.status(), { ...first, progress: 2 });
    assert.deepEqual(await seal.provide(shares[0]!), { ...first, sealed: false, progress: 0, nonce: '' });
  });

  it('does not advance on a share given before', async () => {
    const { seal, shares } = await sealedCore({ shares: 3, threshold: 2 });
    await seal.provide(shares[0]!);
    const again = await seal.provide(Uint8Array.from(shares[0]!));
    assert.deepEqual([again.sealed, again.progress], [true, 1]);
  });

  it('stays sealed when a share is wrong, and starts again', async () => {
    const { seal, barrier, shares } = await sealedCore({ shares: 3, threshold: 2 });
    const wrong = Uint8Array.from(shares[1]!);
    wrong[7]! ^= 1;
    await seal.provide(shares[0]!);
    await assert.rejects(seal.provide(wrong), { code: 'ERR_SEAL_SHARE' });
    assert.equal(barrier.isSealed, true);
    const status = await seal.status();
    assert.deepEqual([status.progress, status.nonce], [0, '']);
    await seal.provide(shares[0]!);
    assert.equal((await seal.provide(shares[1]!)).sealed, false);
  });

  it('stays sealed when two shares claim the same point', async () => {
    const { seal, shares } = await sealedCore({ shares: 3, threshold: 2 });
    const twin = Uint8Array.from(shares[0]!);
    twin[0]! ^= 1;
    await seal.provide(shares[0]!);
    await assert.rejects(seal.provide(twin), { code: 'ERR_SEAL_SHARE' });
    assert.equal((await seal.status()).sealed, true);
  });

  it('refuses a share of the wrong length, without losing the attempt', async () => {
    const { seal, shares } = await sealedCore({ shares: 3, threshold: 2 });
    await seal.provide(shares[0]!);
    for (const length of [0, 1, 32, 34, 1_000]) await assert.rejects(seal.provide(new Uint8Array(length)), { code: 'ERR_SEAL_SHARE' });
    assert.equal((await seal.status()).progress, 1);
    assert.equal((await seal.provide(shares[2]!)).sealed, false);
  });

  it('copies the share, so the caller may wipe its own', async () => {
    const { seal, shares } = await sealedCore({ shares: 2, threshold: 2 });
    const own = Uint8Array.from(shares[0]!);
    await seal.provide(own);
    own.fill(0);
    assert.equal((await seal.provide(shares[1]!)).sealed, false);
  });

  it('takes shares that arrive at the same time', async () => {
    const { seal, barrier, shares } = await sealedCore({ shares: 5, threshold: 5 });
    await Promise.all(shares.map((share) => seal.provide(share)));
    assert.equal(barrier.isSealed, false);
  });

  it('changes nothing when the core is unsealed already', async () => {
    const { seal, shares } = await sealedCore({ shares: 1, threshold: 1 });
    await seal.provide(shares[0]!);
    const status = await seal.provide(new Uint8Array(32));
    assert.deepEqual([status.sealed, status.progress, status.nonce], [false, 0, '']);
  });

  it('refuses before initialization', async () => {
    const { seal } = openCore(new MemoryStorage());
    assert.deepEqual(await seal.status(), { initialized: false, sealed: true, shares: 0, threshold: 0, progress: 0, nonce: '' });
    await assert.rejects(seal.provide(new Uint8Array(32)), { code: 'ERR_SEAL_UNINITIALIZED' });
  });

  it('never repeats a share in an error', async () => {
    const { seal } = await sealedCore({ shares: 1, threshold: 1 });
    const canary = Uint8Array.from(Buffer.from('canary-canary-canary-canary-1234'));
    await assert.rejects(seal.provide(canary), (error: Error) => !JSON.stringify([error.message, error.stack, error]).includes('canary-'));
  });
});

describe('seal() and reset()', () => {
  it('seal() closes the barrier, and the shares open it again', async () => {
    const { seal, barrier, shares } = await sealedCore({ shares: 2, threshold: 2 });
    for (const share of shares) await seal.provide(share);
    await barrier.put('logical/x/a', Buffer.from('kept'));
    await seal.seal();
    await seal.seal();
    assert.equal(barrier.isSealed, true);
    await assert.rejects(barrier.get('logical/x/a'), { code: 'ERR_BARRIER_SEALED' });
    for (const share of shares) await seal.provide(share);
    assert.equal(Buffer.from((await barrier.get('logical/x/a'))!).toString(), 'kept');
  });

  it('seal() wins over an attempt under way', async () => {
    const { seal, barrier, shares } = await sealedCore({ shares: 1, threshold: 1 });
    await Promise.all([seal.provide(shares[0]!), seal.seal()]);
    assert.equal(barrier.isSealed, true);
  });

  it('both forget the shares given so far', async () => {
    const { seal, shares } = await sealedCore({ shares: 3, threshold: 3 });
    for (const forget of [() => seal.reset(), () => seal.seal()]) {
      await seal.provide(shares[0]!);
      await seal.provide(shares[1]!);
      await forget();
      assert.equal((await seal.status()).progress, 0);
      assert.equal((await seal.provide(shares[2]!)).sealed, true);
      await seal.reset();
    }
  });
});

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';

import { openCore } from '../../src/core/core.ts';
import type { Core } from '../../src/core/core.ts';
import { Rekey } from '../../src/core/rekey.ts';
import { RootGeneration } from '../../src/core/root-generation.ts';
import type { SealConfig } from '../../src/core/seal-config.ts';
import { promoteStagedUnsealFile, readUnsealFile, stageUnsealFile, stagedPath, writeUnsealFile } from '../../src/core/unseal-file.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { CuttingStorage } from '../fakes/cutting-storage.ts';

const OLD: SealConfig = { shares: 3, threshold: 2 };
const NEW: SealConfig = { shares: 5, threshold: 3 };
const directory = mkdtempSync(join(tmpdir(), 'purser-rekey-'));
after(() => rmSync(directory, { recursive: true, force: true }));

interface Opened extends Core { readonly rekey: Rekey; readonly shares: Uint8Array[] }

/** An unsealed core with one record, over `storage`. */
async function unsealedCore(storage: Storage, config = OLD): Promise<Opened> {
  const core = openCore(storage);
  const shares = await core.seal.initialize(config);
  for (const share of shares.slice(0, config.threshold)) await core.seal.provide(share);
  await core.barrier.put('logical/x/a', Buffer.from('kept'));
  return { ...core, rekey: new Rekey(core.barrier), shares };
}

/** Whether a fresh process opens the store with these shares, and finds the record. */
async function opensWith(storage: Storage, shares: readonly Uint8Array[]): Promise<boolean> {
  const { seal, barrier } = openCore(storage);
  try {
    for (const share of shares) await seal.provide(share);
  } catch {
    return false;
  }
  return !barrier.isSealed && Buffer.from((await barrier.get('logical/x/a'))!).toString() === 'kept';
}

async function provideAll(rekey: Rekey, shares: readonly Uint8Array[]): Promise<Uint8Array[]> {
  const { nonce } = rekey.status();
  for (const share of shares) {
    const made = await rekey.provide(share, nonce);
    if (made !== undefined) return made;
  }
  throw new Error('not enough shares');
}

describe('Rekey', () => {
  for (const [from, to] of [[OLD, NEW], [{ shares: 1, threshold: 1 }, NEW], [OLD, { shares: 1, threshold: 1 }], [{ shares: 1, threshold: 1 }, { shares: 1, threshold: 1 }]] as const) {
    it(`makes ${to.shares}/${to.threshold} of ${from.shares}/${from.threshold}: the new shares open the core, the old ones do not`, async () => {
      const storage = new MemoryStorage();
      const { rekey, barrier, seal, shares } = await unsealedCore(storage, from);
      await rekey.start(to, false);
      const made = await provideAll(rekey, shares);
      assert.equal(made.length, to.shares);
      assert.equal(rekey.status().isStarted, false);
      await barrier.put('logical/x/b', Buffer.from('the barrier goes on'));
      await barrier.rotate();
      assert.deepEqual((await seal.status()).threshold, to.threshold);
      assert.equal(await opensWith(storage, made.slice(-to.threshold)), true);
      assert.equal(await opensWith(storage, shares.slice(0, from.threshold)), false);
    });
  }

  it('counts shares under one nonce, and refuses those of another attempt', async () => {
    const { rekey, shares } = await unsealedCore(new MemoryStorage());
    assert.deepEqual(rekey.status(), { isStarted: false, nonce: '', shares: 0, threshold: 0, progress: 0, required: 2, needsVerification: false, verificationNonce: '' });
    await assert.rejects(rekey.provide(shares[0]!, ''), { code: 'ERR_SEAL_ATTEMPT' });
    const { nonce } = await rekey.start(NEW, false);
    await assert.rejects(rekey.start(NEW, false), { code: 'ERR_SEAL_ATTEMPT', message: 'rekey already in progress' });
    await assert.rejects(rekey.provide(shares[0]!, 'another'), { code: 'ERR_SEAL_ATTEMPT' });
    assert.equal(await rekey.provide(shares[0]!, nonce), undefined);
    assert.equal(await rekey.provide(shares[0]!, nonce), undefined);
    assert.equal(rekey.status().progress, 1);
    await rekey.cancel();
    const again = await rekey.start(NEW, false);
    assert.notEqual(again.nonce, nonce);
    assert.equal(again.progress, 0);
  });

  it('refuses wrong shares, changes nothing, and takes the right ones afterwards', async () => {
    const storage = new MemoryStorage();
    const { rekey, shares } = await unsealedCore(storage);
    const { nonce } = await rekey.start(NEW, false);
    const wrong = Uint8Array.from(shares[1]!);
    wrong[3]! ^= 1;
    await rekey.provide(shares[0]!, nonce);
    await assert.rejects(rekey.provide(wrong, nonce), { code: 'ERR_SEAL_SHARE' });
    assert.deepEqual([rekey.status().progress, rekey.status().isStarted], [0, true]);
    assert.equal(await opensWith(storage, shares.slice(0, 2)), true);
    assert.equal((await provideAll(rekey, shares)).length, 5);
  });

  it('refuses a split that cannot be', async () => {
    const { rekey } = await unsealedCore(new MemoryStorage());
    for (const config of [{ shares: 0, threshold: 0 }, { shares: 2, threshold: 1 }, { shares: 256, threshold: 3 }]) await assert.rejects(rekey.start(config, false), { code: 'ERR_SEAL_CONFIG' });
    assert.equal(rekey.status().isStarted, false);
  });

  it('with verification lets the old shares hold until enough new ones were given back', async () => {
    const storage = new MemoryStorage();
    const { rekey, shares } = await unsealedCore(storage);
    await rekey.start(NEW, true);
    const made = await provideAll(rekey, shares);
    const { nonce } = rekey.verification();
    assert.equal(rekey.status().verificationNonce, nonce);
    await assert.rejects(rekey.provide(shares[0]!, rekey.status().nonce), { code: 'ERR_SEAL_ATTEMPT' });
    await assert.rejects(rekey.verify(made[0]!, rekey.status().nonce), { code: 'ERR_SEAL_ATTEMPT' }, 'the nonce of the rekey is not that of its verification');
    const wrong = Uint8Array.from(made[1]!);
    wrong[0]! ^= 1;
    await rekey.verify(made[0]!, nonce);
    await rekey.verify(made[2]!, nonce);
    await assert.rejects(rekey.verify(wrong, nonce), { code: 'ERR_SEAL_SHARE' });
    assert.equal(rekey.verification().progress, 0);
    await rekey.verify(made[0]!, nonce);
    const restarted = await rekey.restartVerification();
    assert.deepEqual([restarted.progress, restarted.nonce === nonce], [0, false]);
    assert.equal(await opensWith(storage, shares.slice(0, 2)), true);
    for (const share of made.slice(0, 2)) assert.equal(await rekey.verify(share, restarted.nonce), false);
    assert.equal(await opensWith(storage, shares.slice(0, 2)), true);
    assert.equal(await rekey.verify(made[4]!, restarted.nonce), true);
    assert.equal(await opensWith(storage, made.slice(1, 4)), true);
    assert.equal(await opensWith(storage, shares.slice(0, 2)), false);
    assert.throws(() => rekey.verification(), { code: 'ERR_SEAL_ATTEMPT' });
  });

  it('cancelled before its verification leaves the old shares', async () => {
    const storage = new MemoryStorage();
    const { rekey, shares } = await unsealedCore(storage);
    await rekey.start(NEW, true);
    const made = await provideAll(rekey, shares);
    await rekey.cancel();
    assert.equal(await opensWith(storage, shares.slice(1)), true);
    assert.equal(await opensWith(storage, made.slice(0, 3)), false);
  });

  it('hands the shares out also when the core is sealed while they are being stored', async () => {
    const storage = new MemoryStorage();
    const { rekey, seal, shares } = await unsealedCore(storage);
    await rekey.start(NEW, false);
    const { nonce } = rekey.status();
    await rekey.provide(shares[0]!, nonce);
    const transaction = storage.transaction.bind(storage);
    storage.transaction = async (operations) => { await transaction(operations); await seal.seal(); };
    const made = await rekey.provide(shares[1]!, nonce);
    storage.transaction = transaction;
    assert.equal(await opensWith(storage, made!.slice(0, 3)), true);
  });
});

describe('cut off at any write', () => {
  for (const isApplied of [false, true]) {
    it(`a rekey leaves a core that opens with the old or the new shares (the write ${isApplied ? 'done' : 'not done'})`, async () => {
      for (let cutAt = 1; ; cutAt += 1) {
        const storage = new MemoryStorage();
        const { shares } = await unsealedCore(storage);
        const cutting = new CuttingStorage(storage, cutAt, isApplied);
        const { seal, barrier } = openCore(cutting);
        for (const share of shares.slice(0, 2)) await seal.provide(share);
        const rekey = new Rekey(barrier);
        await rekey.start(NEW, true);
        const made = await provideAll(rekey, shares);
        const { nonce } = rekey.verification();
        let isDone = false;
        try {
          for (const share of made.slice(0, 3)) isDone = await rekey.verify(share, nonce);
        } catch {
          assert.ok(cutting.isCut);
        }
        const opens = [await opensWith(storage, shares.slice(1)), await opensWith(storage, made.slice(2))];
        assert.deepEqual(opens, isDone || isApplied ? [false, true] : [true, false], `cut at write ${cutAt}`);
        if (isDone) { assert.ok(cutAt > 1, 'a rekey writes'); break; }
      }
    });

    it(`a rotation leaves a core that opens and reads (the write ${isApplied ? 'done' : 'not done'})`, async () => {
      for (let cutAt = 1; ; cutAt += 1) {
        const storage = new MemoryStorage();
        const { shares } = await unsealedCore(storage);
        const cutting = new CuttingStorage(storage, cutAt, isApplied);
        const { seal, barrier } = openCore(cutting);
        for (const share of shares.slice(0, 2)) await seal.provide(share);
        const isDone = await barrier.rotate().then(() => true, () => false);
        assert.equal(await opensWith(storage, shares.slice(0, 2)), true, `cut at write ${cutAt}`);
        if (isDone) break;
      }
    });
  }

  it('a store that does the write and says it failed counts as changed', async () => {
    const storage = new MemoryStorage();
    const { rekey, shares } = await unsealedCore(storage);
    await rekey.start(NEW, false);
    const transaction = storage.transaction.bind(storage);
    storage.transaction = async (operations) => { await transaction(operations); throw new Error('the connection broke'); };
    const made = await provideAll(rekey, shares);
    storage.transaction = transaction;
    assert.equal(await opensWith(storage, made.slice(0, 3)), true);
  });

  for (const step of ['before staging', 'after staging', 'after the store changed', 'after the file was replaced'] as const) {
    it(`a rekey of a core with an auto-unseal file opens again by that file: ${step}`, async () => {
      const path = join(directory, step.replaceAll(' ', '-'));
      const storage = new MemoryStorage();
      const { barrier, shares } = await unsealedCore(storage, { shares: 1, threshold: 1 });
      await writeUnsealFile(path, shares);
      const die = (here: typeof step): void => { if (here === step) throw new Error('the process died here'); };
      const rekey = new Rekey(barrier, {
        stage: async (made) => { die('before staging'); await stageUnsealFile(path, made); die('after staging'); },
        finish: async () => { die('after the store changed'); await promoteStagedUnsealFile(path); die('after the file was replaced'); },
      });
      await rekey.start(NEW, false);
      await assert.rejects(provideAll(rekey, shares));
      const fresh = openCore(storage);
      await fresh.seal.unsealFromFile(path);
      assert.equal(Buffer.from((await fresh.barrier.get('logical/x/a'))!).toString(), 'kept');
      assert.equal(existsSync(stagedPath(path)), false, 'no second file stays');
      assert.equal((await readUnsealFile(path)).length, step.startsWith('before') || step === 'after staging' ? 1 : 3);
    });
  }
});

describe('RootGeneration', () => {
  it('makes a token under the pad for enough right shares, once', async () => {
    const { barrier, shares } = await unsealedCore(new MemoryStorage());
    const generation = new RootGeneration(barrier);
    const { nonce, required } = await generation.start('pad');
    assert.equal(required, 2);
    await assert.rejects(generation.start('other'), { code: 'ERR_SEAL_ATTEMPT' });
    const pads: string[] = [];
    const make = async (pad: string): Promise<string> => { pads.push(pad); return 'token'; };
    assert.equal(await generation.provide(shares[0]!, nonce, make), undefined);
    assert.equal(generation.status().progress, 1);
    assert.equal(await generation.provide(shares[2]!, nonce, make), 'token');
    assert.deepEqual(pads, ['pad']);
    await assert.rejects(generation.provide(shares[0]!, nonce, make), { code: 'ERR_SEAL_ATTEMPT' });
  });

  it('makes none for wrong shares, another nonce, or after it was cancelled', async () => {
    const { barrier, shares } = await unsealedCore(new MemoryStorage());
    const generation = new RootGeneration(barrier);
    const { nonce } = await generation.start('pad');
    const fail = async (): Promise<never> => assert.fail('a token was made');
    const wrong = Uint8Array.from(shares[0]!);
    wrong[1]! ^= 1;
    await generation.provide(wrong, nonce, fail);
    await assert.rejects(generation.provide(shares[1]!, nonce, fail), { code: 'ERR_SEAL_SHARE' });
    await assert.rejects(generation.provide(shares[1]!, 'x', fail), { code: 'ERR_SEAL_ATTEMPT' });
    await generation.provide(shares[0]!, nonce, fail);
    await generation.cancel();
    await assert.rejects(generation.provide(shares[1]!, nonce, fail), { code: 'ERR_SEAL_ATTEMPT' });
  });
});

import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';

import { openCore } from '../../src/core/core.ts';
import type { Core } from '../../src/core/core.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined): string | undefined => value && new TextDecoder().decode(value);

async function unsealedCore(storage: Storage = new MemoryStorage()): Promise<Core & { share: Uint8Array }> {
  const core = openCore(storage);
  const [share] = await core.seal.initialize({ shares: 1, threshold: 1 });
  await core.seal.provide(share!);
  return { ...core, share: share! };
}

async function dump(storage: Storage, prefix = ''): Promise<Map<string, Uint8Array>> {
  const records = new Map<string, Uint8Array>();
  for (const name of await storage.list(prefix)) {
    if (name.endsWith('/')) for (const [key, value] of await dump(storage, prefix + name)) records.set(key, value);
    else records.set(prefix + name, (await storage.get(prefix + name))!);
  }
  return records;
}

async function storeOf(records: ReadonlyMap<string, Uint8Array>): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  await storage.transaction([...records].map(([key, value]) => ({ kind: 'put', key, value })));
  return storage;
}

describe('Barrier', () => {
  it('stores nothing of a value in clear, and reads it back', async () => {
    const storage = new MemoryStorage();
    const { barrier } = await unsealedCore(storage);
    await barrier.put('logical/x/a', bytes('canary-value'));
    await barrier.transaction([{ kind: 'put', key: 'logical/x/b', value: bytes('canary-value') }, { kind: 'delete', key: 'logical/x/none' }]);
    for (const [key, record] of await dump(storage)) assert.ok(!Buffer.from(record).includes('canary-value'), key);
    assert.equal(text(await barrier.get('logical/x/a')), 'canary-value');
    assert.equal(text(await barrier.get('logical/x/b')), 'canary-value');
    assert.equal(await barrier.get('logical/x/c'), undefined);
    await barrier.delete('logical/x/a');
    assert.deepEqual(await barrier.list('logical/x/'), ['b']);
  });

  it('refuses every call while sealed', async () => {
    const { barrier, seal } = await unsealedCore();
    const view = barrier.view('logical/x/');
    await view.put('a', bytes('1'));
    await seal.seal();
    const sealed = { code: 'ERR_BARRIER_SEALED', hint: /unseal/ };
    await assert.rejects(view.get('a'), sealed);
    await assert.rejects(view.get('none'), sealed);
    await assert.rejects(view.put('a', bytes('2')), sealed);
    await assert.rejects(view.delete('a'), sealed);
    await assert.rejects(view.list(''), sealed);
    await assert.rejects(view.transaction([]), sealed);
    await assert.rejects(barrier.rotate(), sealed);
    assert.throws(() => barrier.keyStatus(), sealed);
  });

  it('get() that is overtaken by seal() gives nothing away', async () => {
    const { barrier, seal } = await unsealedCore();
    await barrier.put('logical/x/a', bytes('1'));
    const reading = barrier.get('logical/x/a');
    const sealing = seal.seal();
    await assert.rejects(reading, { code: 'ERR_BARRIER_SEALED' });
    await sealing;
  });

  it('rotate() encrypts under the new term and still reads the old ones, also after a restart', async () => {
    const storage = new MemoryStorage();
    const { barrier, share } = await unsealedCore(storage);
    await barrier.put('logical/x/1', bytes('one'));
    assert.deepEqual(await Promise.all([barrier.rotate(), barrier.rotate()]), [2, 3]);
    await barrier.put('logical/x/3', bytes('three'));
    assert.equal((await storage.get('logical/x/1'))![4], 1);
    assert.equal((await storage.get('logical/x/3'))![4], 3);
    const again = openCore(storage);
    await again.seal.provide(share);
    assert.equal(again.barrier.keyStatus().term, 3);
    assert.equal(text(await again.barrier.get('logical/x/1')), 'one');
    assert.equal(text(await again.barrier.get('logical/x/3')), 'three');
  });

  it('rotate() that cannot be stored changes nothing', async () => {
    const storage = new MemoryStorage();
    const { barrier } = await unsealedCore(storage);
    storage.put = async () => { throw new Error('disk'); };
    await assert.rejects(barrier.rotate(), { message: 'disk' });
    assert.equal(barrier.keyStatus().term, 1);
  });

  it('rotate() that is overtaken by seal() leaves the core sealed and readable later', async () => {
    const storage = new MemoryStorage();
    const { barrier, seal, share } = await unsealedCore(storage);
    await barrier.put('logical/x/1', bytes('one'));
    const rotating = barrier.rotate();
    await seal.seal();
    await assert.rejects(rotating, { code: 'ERR_BARRIER_SEALED' });
    assert.equal(barrier.isSealed, true);
    await seal.provide(share);
    assert.equal(text(await barrier.get('logical/x/1')), 'one');
  });
});

describe('View', () => {
  let core: Core;
  before(async () => { core = await unsealedCore(); });

  it('prefixes every key, and sees nothing else', async () => {
    const [a, ab] = [core.barrier.view('logical/a/'), core.barrier.view('logical/ab/')];
    await ab.put('x', bytes('other'));
    await a.put('x', bytes('mine'));
    await a.sub('deep/').put('y', bytes('deep'));
    assert.equal(text(await core.barrier.get('logical/a/x')), 'mine');
    assert.equal(text(await core.barrier.get('logical/a/deep/y')), 'deep');
    assert.deepEqual(await a.list(''), ['deep/', 'x']);
    assert.deepEqual(await a.list('deep/'), ['y']);
    assert.deepEqual(await a.list('', { after: 'deep/', limit: 1 }), ['x']);
  });

  it('takes dots and prototype names as ordinary names', async () => {
    const view = core.barrier.view('logical/dots/');
    for (const key of ['..', '../up', '.', '__proto__', 'constructor', '%2e%2e/x']) {
      assert.equal(await view.get(key), undefined);
      await view.put(key, bytes(key));
      assert.equal(text(await core.barrier.get(`logical/dots/${key}`)), key);
    }
  });

  for (const key of ['', '/', '/a', 'a/', 'a//b', 'a\0b', '\ud800']) {
    it(`refuses the key ${JSON.stringify(key)}`, async () => {
      const view = core.barrier.view('logical/a/');
      const refused = { code: 'ERR_STORAGE_KEY' };
      await assert.rejects(view.get(key), refused);
      await assert.rejects(view.put(key, bytes('x')), refused);
      await assert.rejects(view.delete(key), refused);
      await assert.rejects(view.transaction([{ kind: 'put', key: 'fine', value: bytes('x') }, { kind: 'delete', key }]), refused);
      assert.equal(await view.get('fine'), undefined);
    });
  }

  it('view() and sub() refuse prefixes that do not end in a slash, and all records of the core', async () => {
    const refused = { code: 'ERR_STORAGE_KEY' };
    for (const prefix of ['', 'a', '/', 'a//', '/a/', 'core/', 'core/keyring/']) assert.throws(() => core.barrier.view(prefix), refused, prefix);
    for (const prefix of ['a', '/', '/a/', 'a//']) assert.throws(() => core.barrier.view('logical/').sub(prefix), refused, prefix);
    for (const key of ['core/keyring', 'core/seal-config', 'core/new']) {
      await assert.rejects(core.barrier.get(key), refused);
      await assert.rejects(core.barrier.put(key, bytes('x')), refused);
      await assert.rejects(core.barrier.delete(key), refused);
      await assert.rejects(core.barrier.transaction([{ kind: 'delete', key }]), refused);
    }
    await assert.rejects(core.barrier.list('core/'), refused);
    await assert.rejects(core.barrier.list(''), refused);
  });
});

describe('a stored record that was altered', () => {
  let records: Map<string, Uint8Array>;
  let shares: Uint8Array[];
  before(async () => {
    const storage = new MemoryStorage();
    const { barrier, seal } = openCore(storage);
    shares = await seal.initialize({ shares: 5, threshold: 3 });
    for (const share of shares.slice(0, 3)) await seal.provide(share);
    await barrier.put('logical/x/a', bytes('first'));
    await barrier.put('token/abc', bytes(''));
    await barrier.rotate();
    await barrier.put('logical/x/b', bytes('second'));
    await barrier.put('logical/x/c', new Uint8Array(200));
    records = await dump(storage);
    assert.deepEqual([...records.keys()].sort(), ['core/keyring', 'core/seal-config', 'logical/x/a', 'logical/x/b', 'logical/x/c', 'token/abc']);
  });

  /** Restarts on the altered store and reads everything: the code of the first refusal, or undefined when all was accepted. */
  async function refusal(altered: ReadonlyMap<string, Uint8Array>): Promise<string | undefined> {
    const { barrier, seal } = openCore(await storeOf(altered));
    try {
      for (const share of shares) await seal.provide(share);
      assert.equal(barrier.isSealed, false);
      for (const key of altered.keys()) if (!key.startsWith('core/')) await barrier.get(key);
      return undefined;
    } catch (error) {
      return (error as { code: string }).code;
    }
  }

  const CODES: Readonly<Record<string, readonly string[]>> = {
    'core/keyring': ['ERR_SEAL_SHARE'], // an altered keyring and wrong shares cannot be told apart
    'core/seal-config': ['ERR_SEAL_CONFIG', 'ERR_SEAL_SHARE'], // a lowered threshold gives a wrong root key
  };
  async function assertRefused(key: string, value: Uint8Array | undefined, what: string): Promise<void> {
    const altered = new Map(records);
    if (value === undefined) altered.delete(key); else altered.set(key, value);
    const code = await refusal(altered);
    assert.ok((CODES[key] ?? ['ERR_BARRIER_OPEN']).includes(code ?? ''), `${key}: ${what}: ${code ?? 'accepted'}`);
  }

  it('is not what this suite starts from', async () => {
    assert.equal(await refusal(records), undefined);
  });

  it('in any byte, is refused', async () => {
    for (const [key, record] of records) {
      for (let i = 0; i < record.length; i++) {
        for (const mask of [0x01, 0x80, 0xff]) {
          const altered = Uint8Array.from(record);
          altered[i]! ^= mask;
          await assertRefused(key, altered, `byte ${i} xor ${mask}`);
        }
      }
    }
  });

  it('in the digits of the seal configuration, is refused whatever the digit', async () => {
    const record = records.get('core/seal-config')!;
    for (let i = 0; i < record.length; i++) {
      for (const digit of '0123456789') {
        const altered = Uint8Array.from(record);
        altered[i] = digit.charCodeAt(0);
        if (altered[i] !== record[i]) await assertRefused('core/seal-config', altered, `byte ${i} to ${digit}`);
      }
    }
  });

  it('by cutting it at either end, is refused', async () => {
    for (const [key, record] of records) {
      for (let length = 0; length < record.length; length++) await assertRefused(key, record.subarray(0, length), `first ${length} bytes`);
      await assertRefused(key, record.subarray(1), 'without its first byte');
    }
  });

  it('by adding to it, is refused', async () => {
    for (const [key, record] of records) {
      for (const byte of [0, 0x20, 0x0a, 0xff]) {
        await assertRefused(key, Uint8Array.of(...record, byte), `${byte} added`);
        await assertRefused(key, Uint8Array.of(byte, ...record), `${byte} in front`);
      }
      await assertRefused(key, Uint8Array.of(...record, ...record), 'doubled');
    }
  });

  it('by moving it to any other place, is refused', async () => {
    for (const target of records.keys()) {
      for (const [source, record] of records) if (source !== target) await assertRefused(target, record, `replaced by ${source}`);
    }
    for (const [source, record] of records) {
      const moved = new Map([...records, ['logical/x/new', record] as const]);
      assert.equal(await refusal(moved), 'ERR_BARRIER_OPEN', `${source} copied to a new place`);
    }
  });

  it('by deleting one record of the core, is refused, and nothing is initialized over the rest', async () => {
    await assertRefused('core/seal-config', undefined, 'deleted');
    const [noKeyring, noCore] = [new Map(records), new Map(records)];
    noKeyring.delete('core/keyring');
    assert.equal(await refusal(noKeyring), 'ERR_SEAL_CONFIG');
    for (const key of ['core/keyring', 'core/seal-config']) noCore.delete(key);
    assert.equal(await refusal(noCore), 'ERR_SEAL_UNINITIALIZED');
    await assert.rejects(openCore(await storeOf(noCore)).seal.initialize({ shares: 1, threshold: 1 }), { code: 'ERR_STATE_CORRUPT' });
    await assert.rejects(openCore(await storeOf(noKeyring)).seal.initialize({ shares: 1, threshold: 1 }), { code: 'ERR_SEAL_INITIALIZED' });
  });
});

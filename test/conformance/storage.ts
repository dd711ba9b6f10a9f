// What every storage driver must do. A driver is done when it passes.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';

import { MAX_KEY_BYTES } from '../../src/storage/storage.ts';
import type { ClosableStorage, Storage, StorageOperation } from '../../src/storage/storage.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined): string | undefined => value && new TextDecoder().decode(value);

async function putAll(storage: Storage, keys: readonly string[]): Promise<void> {
  await storage.transaction(keys.map((key) => ({ kind: 'put', key, value: bytes(key) })));
}

/** Immediate children of `prefix` among `keys`, by the words of the interface. */
function expectedList(keys: Iterable<string>, prefix: string): string[] {
  const names = new Set<string>();
  for (const key of keys) {
    if (key.startsWith(prefix)) names.add(/^[^/]*\/?/.exec(key.slice(prefix.length))![0]);
  }
  return [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

/** Runs the suite. Every test writes below a folder of its own, so one store serves all. */
export function storageConformance(driver: string, open: () => Promise<ClosableStorage>): void {
  describe(`storage: ${driver}`, () => {
    let storage: ClosableStorage;
    before(async () => { storage = await open(); });
    after(async () => storage.close());

    it('get() answers undefined for what is not there', async () => {
      assert.equal(await storage.get('missing/key'), undefined);
    });

    it('get() answers what put() stored, empty and large values included', async () => {
      for (const size of [0, 1, 4_095, 4_096, 3_000_000]) {
        const value = new Uint8Array(size).map((_, i) => i % 251);
        await storage.put(`sizes/${size}`, value);
        assert.deepEqual(Buffer.from((await storage.get(`sizes/${size}`))!), Buffer.from(value));
      }
    });

    it('put() replaces, and owes the caller nothing of its buffer', async () => {
      await storage.put('own/a', bytes('first'));
      const buffer = bytes('second');
      const done = storage.put('own/a', buffer);
      buffer.fill(0);
      await done;
      assert.equal(text(await storage.get('own/a')), 'second');
    });

    it('get() hands out bytes that belong to the caller', async () => {
      await storage.put('own/b', bytes('value'));
      (await storage.get('own/b'))!.fill(0);
      assert.equal(text(await storage.get('own/b')), 'value');
    });

    it('delete() removes, and removing what is not there is no error', async () => {
      await storage.put('delete/a', bytes('x'));
      await storage.delete('delete/a');
      await storage.delete('delete/a');
      await storage.delete('delete/never/there');
      assert.equal(await storage.get('delete/a'), undefined);
      assert.deepEqual(await storage.list('delete/'), []);
    });

    it('takes keys of every length up to the limit, and refuses one byte more', async () => {
      for (const longest of ['k'.repeat(MAX_KEY_BYTES), `long/${'é'.repeat((MAX_KEY_BYTES - 5) / 2 | 0)}`, `deep/${'d/'.repeat(900)}e`]) {
        await storage.put(longest, bytes('long'));
        assert.equal(text(await storage.get(longest)), 'long');
        const folder = longest.slice(0, longest.lastIndexOf('/') + 1);
        assert.ok((await storage.list(folder)).includes(longest.slice(folder.length)));
        await storage.delete(longest);
      }
      await assert.rejects(storage.put('k'.repeat(MAX_KEY_BYTES + 1), bytes('x')), { code: 'ERR_STORAGE_KEY' });
    });

    for (const [what, key] of Object.entries({
      'an empty key': '', 'a leading slash': '/a', 'a trailing slash': 'a/', 'an empty segment': 'a//b', 'a lone slash': '/',
      'NUL': 'a\0b', 'half a surrogate pair': 'a\ud800b',
    })) {
      it(`refuses ${what} in every call`, async () => {
        const refused = { code: 'ERR_STORAGE_KEY' };
        await assert.rejects(async () => storage.get(key), refused);
        await assert.rejects(async () => storage.put(key, bytes('x')), refused);
        await assert.rejects(async () => storage.delete(key), refused);
        await assert.rejects(async () => storage.transaction([{ kind: 'put', key, value: bytes('x') }]), refused);
        await assert.rejects(async () => storage.replace(key, bytes('x'), bytes('y')), refused);
        if (key !== '' && key !== 'a/') await assert.rejects(async () => storage.list(`${key}/`), refused);
      });
    }

    it('list() refuses a prefix without its slash and an `after` that is no child', async () => {
      await assert.rejects(async () => storage.list('a'), { code: 'ERR_STORAGE_KEY' });
      for (const name of ['', '/', 'a/b', 'a//']) {
        await assert.rejects(async () => storage.list('a/', { after: name }), { code: 'ERR_STORAGE_KEY' }, name);
      }
    });

    it('list() names entries and folders, both when a name is both, in byte order', async () => {
      const folder = 'order/';
      const names = ['a', 'a!', 'a.b', 'a/x', 'a/y/z', 'a0', 'b/c/d', 'é', '\uffee', '😀', 'A', '__proto__', 'constructor/x', '..', '.'];
      await putAll(storage, names.map((name) => folder + name));
      await putAll(storage, ['orde', 'order!', 'order0', 'orderly/x']);
      assert.deepEqual(await storage.list(folder),
        ['.', '..', 'A', '__proto__', 'a', 'a!', 'a.b', 'a/', 'a0', 'b/', 'constructor/', 'é', '\uffee', '😀']);
      assert.deepEqual(await storage.list('order/a/'), ['x', 'y/']);
      assert.deepEqual(await storage.list('order/none/'), []);
      assert.equal(await storage.get('order/__proto__/x'), undefined);
    });

    it('list("") names the top', async () => {
      await putAll(storage, ['top/a/b', 'top2']);
      const names = await storage.list('');
      assert.ok(names.includes('top/') && names.includes('top2') && !names.includes('top/a/'));
    });

    it('list() pages of any size add up to the whole', async () => {
      const keys = Array.from({ length: 40 }, (_, i) => `pages/${i % 3 === 0 ? `f${i}/x` : `e${i}`}`);
      await putAll(storage, [...keys, 'pages/e1/deep', 'pages0']);
      const whole = expectedList([...keys, 'pages/e1/deep'], 'pages/');
      for (const limit of [1, 2, 7, 41, 1000]) {
        const seen: string[] = [];
        for (let page = await storage.list('pages/', { limit }); page.length > 0;) {
          assert.ok(page.length <= limit);
          seen.push(...page);
          page = await storage.list('pages/', { limit, after: seen.at(-1)! });
        }
        assert.deepEqual(seen, whole, `limit ${limit}`);
      }
      assert.deepEqual(await storage.list('pages/', { after: 'e9zzz', limit: 1 }), ['f0/'], 'continues after a name that is gone');
    });

    it('list() of a large folder is whole', async () => {
      const names = Array.from({ length: 10_000 }, (_, i) => i % 2 === 0 ? `n${i}` : `n${i}/x`);
      await putAll(storage, names.map((name) => `large/${name}`));
      assert.deepEqual(await storage.list('large/'), expectedList(names.map((name) => `large/${name}`), 'large/'));
    });

    it('transaction() applies in order, and nothing at all when one key is bad', async () => {
      await storage.put('tx/old', bytes('old'));
      await storage.transaction([
        { kind: 'put', key: 'tx/a', value: bytes('1') }, { kind: 'put', key: 'tx/a', value: bytes('2') },
        { kind: 'put', key: 'tx/b', value: bytes('1') }, { kind: 'delete', key: 'tx/b' },
      ]);
      assert.equal(text(await storage.get('tx/a')), '2');
      assert.equal(await storage.get('tx/b'), undefined);
      await assert.rejects(storage.transaction([{ kind: 'delete', key: 'tx/old' }, { kind: 'put', key: '', value: bytes('x') }]), { code: 'ERR_STORAGE_KEY' });
      assert.equal(text(await storage.get('tx/old')), 'old');
      await storage.transaction([]);
    });

    it('transaction() of many callers at once loses none', async () => {
      await Promise.all(Array.from({ length: 500 }, async (_, i) => storage.put(`parallel/${i}`, bytes(String(i)))));
      assert.equal((await storage.list('parallel/')).length, 500);
    });

    it('replace() stores only over exactly the bytes that were expected, and says so', async () => {
      assert.equal(await storage.replace('cas/none', bytes(''), bytes('x')), false, 'what is not there is not empty');
      assert.equal(await storage.replace('cas/none/below', bytes('a'), bytes('x')), false);
      assert.deepEqual(await storage.list('cas/'), [], 'a refused replace leaves nothing');
      await storage.put('cas/a', bytes('one'));
      for (const other of ['', 'on', 'ones', 'One']) assert.equal(await storage.replace('cas/a', bytes(other), bytes('x')), false, other);
      assert.equal(text(await storage.get('cas/a')), 'one');
      assert.equal(await storage.replace('cas/a', bytes('one'), bytes('two')), true);
      assert.equal(await storage.replace('cas/a', bytes('one'), bytes('three')), false);
      assert.equal(text(await storage.get('cas/a')), 'two');
      await storage.put('cas/empty', bytes(''));
      assert.equal(await storage.replace('cas/empty', bytes(''), bytes('x')), true);
      await storage.put('cas/large', new Uint8Array(300_000).fill(1));
      assert.equal(await storage.replace('cas/large', new Uint8Array(300_000).fill(1), bytes('small')), true);
      assert.equal(text(await storage.get('cas/large')), 'small');
    });

    it('replace() owes the caller nothing of its buffers', async () => {
      await storage.put('cas/own', bytes('one'));
      const [expected, value] = [bytes('one'), bytes('two')];
      const done = storage.replace('cas/own', expected, value);
      expected.fill(0);
      value.fill(0);
      assert.equal(await done, true);
      assert.equal(text(await storage.get('cas/own')), 'two');
    });

    it('replace() undoes no write that was called before it, and loses to a delete', async () => {
      await storage.transaction(['put', 'delete', 'again'].map((name) => ({ kind: 'put', key: `order2/${name}`, value: bytes('old') })));
      const [, overPut, , overDelete, first, second] = await Promise.all([
        storage.put('order2/put', bytes('new')), storage.replace('order2/put', bytes('old'), bytes('stale')),
        storage.delete('order2/delete'), storage.replace('order2/delete', bytes('old'), bytes('stale')),
        storage.replace('order2/again', bytes('old'), bytes('first')), storage.replace('order2/again', bytes('old'), bytes('second')),
      ]);
      assert.deepEqual([overPut, overDelete, first, second], [false, false, true, false]);
      assert.equal(text(await storage.get('order2/put')), 'new');
      assert.equal(await storage.get('order2/delete'), undefined);
      assert.equal(text(await storage.get('order2/again')), 'first');
    });

    it('replace() by many callers counts every step once', async () => {
      await storage.put('cas/count', bytes('0'));
      const increment = async (): Promise<void> => {
        for (;;) {
          const stored = (await storage.get('cas/count'))!;
          if (await storage.replace('cas/count', stored, bytes(String(Number(text(stored)) + 1)))) return;
        }
      };
      await Promise.all(Array.from({ length: 20 }, increment));
      assert.equal(text(await storage.get('cas/count')), '20');
    });

    it('agrees with a model under random operations', async () => {
      const segment = fc.constantFrom('a', 'b', 'a!', 'é', '__proto__', '..');
      const key = fc.array(segment, { minLength: 1, maxLength: 3 }).map((segments) => segments.join('/'));
      const operation: fc.Arbitrary<StorageOperation> = fc.oneof(
        fc.record({ kind: fc.constant('put' as const), key, value: fc.uint8Array({ maxLength: 8 }) }),
        fc.record({ kind: fc.constant('delete' as const), key }),
      );
      let run = 0;
      await fc.assert(fc.asyncProperty(fc.array(fc.array(operation, { maxLength: 4 }), { maxLength: 8 }), async (transactions) => {
        const root = `model/${run++}/`;
        const model = new Map<string, Uint8Array>();
        for (const operations of transactions) {
          await storage.transaction(operations.map((op) => ({ ...op, key: root + op.key })));
          for (const op of operations) if (op.kind === 'put') model.set(op.key, op.value); else model.delete(op.key);
        }
        for (const [key, value] of model) assert.deepEqual(Buffer.from((await storage.get(root + key))!), Buffer.from(value));
        for (const folder of ['', 'a/', 'a/a/', 'a!/', '__proto__/']) {
          assert.deepEqual(await storage.list(root + folder), expectedList(model.keys(), folder));
        }
      }), { numRuns: 40 });
    });

    it('refuses every call after close()', async () => {
      const closed = await open();
      await closed.close();
      await closed.close();
      const refused = { code: 'ERR_STORAGE_CLOSED' };
      await assert.rejects(async () => closed.get('a'), refused);
      await assert.rejects(async () => closed.put('a', bytes('x')), refused);
      await assert.rejects(async () => closed.delete('a'), refused);
      await assert.rejects(async () => closed.list(''), refused);
      await assert.rejects(async () => closed.transaction([]), refused);
      await assert.rejects(async () => closed.replace('a', bytes('x'), bytes('y')), refused);
    });
  });
}

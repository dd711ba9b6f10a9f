// The mount table: routing as data, and removals that a crash interrupts.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Engine } from '../../src/core/logical.ts';
import { openCore } from '../../src/core/core.ts';
import type { View } from '../../src/core/view.ts';
import { isPurserError } from '../../src/lib/errors.ts';
import { DEFAULT_MOUNT_CONFIG } from '../../src/server/mount-config.ts';
import { MountTable, type MountRecord } from '../../src/server/mount-table.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';
import { CuttingStorage } from '../fakes/cutting-storage.ts';

const engine: Engine = { handle: async () => undefined };

interface Views { readonly mounts: View; readonly logical: View; readonly auth: View }

async function barrier(): Promise<Views> {
  const { barrier: opened, seal } = openCore(new MemoryStorage());
  const [share] = await seal.initialize({ shares: 1, threshold: 1 });
  await seal.provide(share!);
  return { mounts: opened.view('mounts/'), logical: opened.view('logical/'), auth: opened.view('auth/') };
}

function open({ mounts, logical, auth }: Views, onRemoved?: (record: MountRecord) => Promise<void>): Promise<MountTable> {
  return MountTable.open({ view: mounts, logical, auth, createEngine: () => ({ engine }), ...(onRemoved === undefined ? {} : { onRemoved }) });
}

const wish = (path: string) => ({ path, type: 'kv', description: '', options: { version: '2' } });

describe('MountTable', () => {
  test('find() gives the one mount that serves a path, and the rest of the path', async () => {
    const table = await open(await barrier());
    for (const path of ['secret/', 'team/a/', 'secretly/']) await table.enable(wish(path));
    const rows: readonly (readonly [path: string, mount: string | undefined, rest?: string])[] = [
      ['secret/data/a', 'secret/', 'data/a'], ['secret/', 'secret/', ''], ['secret', 'secret/', ''], ['secretly/x', 'secretly/', 'x'], ['secretl/x', undefined],
      ['team/a/x', 'team/a/', 'x'], ['team/a', 'team/a/', ''], ['team/b/x', undefined], ['team', undefined], ['', undefined],
    ];
    for (const [path, mount, rest] of rows) {
      const route = table.find(path);
      assert.deepEqual([route?.mount.path, route?.path], [mount, rest], path);
    }
  });

  test('enable() survives a restart, and exists() says from when on', async () => {
    const views = await barrier();
    assert.equal(await MountTable.exists(views.mounts), false);
    await (await open(views)).enable(wish('secret/'));
    assert.equal(await MountTable.exists(views.mounts), true);
    assert.equal((await open(views)).find('secret/a')?.mount.type, 'kv');
  });

  test('enable() at the same time as itself gives one mount', async () => {
    const table = await open(await barrier());
    const results = await Promise.allSettled(['a/', 'a/', 'a/b/'].map((path) => table.enable(wish(path))));
    assert.deepEqual(results.map(({ status }) => status), ['fulfilled', 'rejected', 'rejected']);
    assert.equal(table.all().length, 1);
  });

  test('disable() leaves no record behind, and a removal that was interrupted goes on at the next start', async () => {
    const views = await barrier();
    const table = await open(views);
    await table.enable(wish('gone/'));
    const { uuid } = table.find('gone/x')!.mount;
    const records = views.logical.sub(`${uuid}/`);
    for (const key of ['a', 'b/c', 'b/d/e']) await records.put(key, new Uint8Array(1));
    const list = views.logical.list.bind(views.logical);
    const broken = { ...views, logical: failing(views.logical) };
    const crashing = await open(broken);
    await assert.rejects(crashing.disable('gone/'), /crash/);
    assert.equal(crashing.find('gone/x'), undefined);
    assert.equal((await list('')).length, 1);

    const restarted = await open(views);
    assert.equal(restarted.find('gone/x'), undefined);
    assert.deepEqual(await list(''), []);
    await restarted.enable(wish('gone/'));
    assert.notEqual(restarted.find('gone/x')!.mount.uuid, uuid);
  });

  test('enable() of an auth method names it auth_<type>, keeps its records below auth/, and nests nothing', async () => {
    const views = await barrier();
    const table = await open(views);
    await table.enable({ ...wish('auth/people/'), type: 'userpass' });
    const { accessor, uuid } = table.find('auth/people/login/bob')!.mount;
    assert.match(accessor, /^auth_userpass_[0-9a-f]{8}$/);
    assert.equal(table.byAccessor(accessor)?.path, 'auth/people/');
    for (const path of ['auth/', 'auth/people/', 'auth/people/x/', 'sys/x/', 'identity/']) await assert.rejects(table.enable(wish(path)), (error) => isPurserError(error, 'ERR_REQUEST_INVALID'), path);
    await views.auth.put(`${uuid}/user/bob`, new Uint8Array(1));
    await table.disable('auth/people/');
    assert.deepEqual([await views.auth.list(''), table.byAccessor(accessor)], [[], undefined]);
  });

  test('disable() ends what the mount handed out before its records go, also when a crash came in between', async () => {
    const views = await barrier();
    const ended: string[] = [];
    const onRemoved = async ({ accessor }: MountRecord): Promise<void> => { ended.push(accessor); };
    const table = await open({ ...views, logical: failing(views.logical) }, onRemoved);
    await table.enable(wish('gone/'));
    const { accessor, uuid } = table.find('gone/')!.mount;
    await views.logical.put(`${uuid}/a`, new Uint8Array(1));
    await assert.rejects(table.disable('gone/'), /crash/);
    await open(views, onRemoved);
    assert.deepEqual(ended, [accessor, accessor]);
  });

  test('tune() survives a restart, keeps engine and identity of the mount, and refuses built-in mounts', async () => {
    const views = await barrier();
    const table = await open(views);
    table.addBuiltIn({ ...wish('auth/node/'), accessor: 'auth_node_builtin', uuid: '', config: DEFAULT_MOUNT_CONFIG, engine });
    await table.enable(wish('secret/'));
    const before = table.find('secret/')!.mount;
    await table.tune('secret/', ({ config }) => ({ description: 'new', config: { ...config, maxTtlSeconds: 60 } }));
    for (const { mount } of [table.find('secret/')!, (await open(views)).find('secret/')!]) {
      assert.deepEqual([mount.description, mount.config.maxTtlSeconds, mount.accessor, mount.uuid], ['new', 60, before.accessor, before.uuid]);
    }
    for (const path of ['auth/node/', 'nowhere/']) await assert.rejects(table.tune(path, () => ({})), (error) => isPurserError(error, 'ERR_REQUEST_INVALID'));
  });

  test('tune() of the token mount survives a restart, and takes its config only', async () => {
    const views = await barrier();
    const builtIn = { ...wish('auth/token/'), accessor: 'auth_token_builtin', uuid: '', config: DEFAULT_MOUNT_CONFIG, engine };
    for (const isFirst of [true, false]) {
      const table = await open(views);
      table.addBuiltIn(builtIn);
      if (isFirst) await table.tune('auth/token/', ({ config }) => ({ config: { ...config, maxTtlSeconds: 60 } }));
      assert.equal(table.find('auth/token/create')?.mount.config.maxTtlSeconds, 60);
      await assert.rejects(table.tune('auth/token/', () => ({ description: 'new' })), (error) => isPurserError(error, 'ERR_REQUEST_INVALID'));
      await assert.rejects(table.tune('auth/token/', () => ({ options: { a: 'b' } })), (error) => isPurserError(error, 'ERR_REQUEST_INVALID'));
    }
  });

  test('move() cut off at any write leaves the mount at the old path or at the new one, with its records', async () => {
    for (const isApplied of [false, true]) {
      for (let cutAt = 1; ; cutAt += 1) {
        const storage = new MemoryStorage();
        const { seal, barrier: whole } = openCore(storage);
        const [share] = await seal.initialize({ shares: 1, threshold: 1 });
        await seal.provide(share!);
        const views = { mounts: whole.view('mounts/'), logical: whole.view('logical/'), auth: whole.view('auth/') };
        const table = await open(views);
        await table.enable(wish('old/'));
        const { uuid, accessor } = table.find('old/')!.mount;
        await views.logical.put(`${uuid}/a`, new Uint8Array(1));

        const cut = openCore(new CuttingStorage(storage, cutAt, isApplied));
        await cut.seal.provide(share!);
        const dying = await open({ mounts: cut.barrier.view('mounts/'), logical: cut.barrier.view('logical/'), auth: cut.barrier.view('auth/') });
        const isDone = await dying.move('old/', 'new/').then(() => true, () => false);

        const after = await open(views);
        assert.deepEqual(after.all().map((mount) => [mount.path, mount.accessor]), [[isDone || isApplied ? 'new/' : 'old/', accessor]], `cut at ${cutAt}`);
        assert.equal((await views.logical.get(`${uuid}/a`))?.length, 1);
        if (!isDone) assert.equal(dying.find('old/x')?.mount.accessor, accessor, 'a failed move leaves the mount where it answers');
        if (isDone) break;
      }
    }
  });

  test('open() refuses a table that it does not know', async () => {
    const views = await barrier();
    await views.mounts.put('table', Buffer.from('{"v":2,"mounts":[]}'));
    await assert.rejects(open(views), (error) => isPurserError(error, 'ERR_RECORD_INVALID'));
  });
});

/** Reads work, removing does not. */
function failing(view: View): View {
  return {
    get: (key) => view.get(key), put: (key, value) => view.put(key, value), delete: () => Promise.reject(new Error('crash')),
    list: (prefix, page) => view.list(prefix, page), transaction: () => Promise.reject(new Error('crash')), sub: (prefix) => failing(view.sub(prefix)),
  };
}

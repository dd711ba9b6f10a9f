// Wrapped responses, cubbyholes and leases of a core that dies after each of its writes: nothing opens twice, and nothing of what
// was put away outlives its token.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TokenStore } from '../../src/auth/token/token-store.ts';
import { Cubbyholes } from '../../src/engines/cubbyhole/cubbyholes.ts';
import { Leases } from '../../src/leases/leases.ts';
import { Wrapping } from '../../src/server/wrapping.ts';
import { CredentialsEngine } from '../fakes/credentials-engine.ts';
import { MemoryView } from '../fakes/memory-view.ts';

const START = 1_700_000_000_000;
const ROOTS = ['token/batch-key', 'token/salt'];

function setUp() {
  const view = new MemoryView();
  const clock = { ms: START };
  const engine = new CredentialsEngine();
  /** The core after a (re)start. */
  const open = async () => {
    const cubbyholes = new Cubbyholes(view.sub('cubbyhole/'));
    const leases = new Leases({ view: view.sub('leases/'), now: () => clock.ms, keeperOf: () => engine });
    const tokens = await TokenStore.open(view.sub('token/'), () => clock.ms, async (key) => {
      await leases.revokeOwned(key);
      await cubbyholes.wipe(key);
    });
    return { tokens, cubbyholes, leases, wrapping: new Wrapping(tokens, cubbyholes) };
  };
  const left = (): string[] => [...view.records.keys()].sort();
  return { view, clock, engine, open, left };
}

const outcome = (work: Promise<unknown>): Promise<'done' | 'failed'> => work.then(() => 'done', () => 'failed');

for (let writes = 0; writes <= 6; writes++) {
  test(`wrap() and unwrap() that die after ${writes} writes: at most one reader, and nothing is left in the end`, async () => {
    const { view, clock, open, left } = setUp();
    const core = await open();
    view.failAfter(writes);
    let token: string | undefined;
    let opened = 0;
    await outcome((async () => {
      const { wrapInfo } = await core.wrapping.wrap({ data: { password: 'canary' } }, 60, 'secret/data/a');
      token = wrapInfo?.['token'] as string;
      await core.wrapping.unwrap(token, 'another');
      opened++;
    })());
    view.failAfter(Infinity);
    const after = await open();
    if (token !== undefined && await outcome(after.wrapping.unwrap(token, 'another')) === 'done') opened++;
    assert.ok(opened <= 1, `opened ${opened} times`);
    clock.ms += 60_000;
    await after.tokens.sweep();
    assert.deepEqual(left(), ROOTS);
  });
}

for (let writes = 0; writes <= 9; writes++) {
  test(`a revocation that dies after ${writes} writes: neither cubbyhole nor secret outlives the token`, async () => {
    const { view, clock, engine, open, left } = setUp();
    const core = await open();
    const parent = await core.tokens.create({ policies: ['app'], path: 'auth/token/create', displayName: 'token', ttlSeconds: 3_600 });
    const child = await core.tokens.create({ policies: ['app'], path: 'auth/token/create', displayName: 'token', ttlSeconds: 3_600, parentId: parent.id });
    for (const { entry } of [parent, child]) {
      await core.cubbyholes.write(entry.key, 'a', { secret: 'canary' });
      await core.cubbyholes.write(entry.key, 'deep/er', { secret: 'canary' });
      const made = await engine.handle({ operation: 'read', path: 'creds/app', mountPoint: 'db/', data: {}, remoteAddress: '' });
      await core.leases.register(made!.lease!, { path: 'db/creds/app', mount: 'm', owner: entry.key, defaultTtlSeconds: 60, maxTtlSeconds: 600 }, () => Promise.resolve(true));
    }
    view.failAfter(writes);
    await outcome(core.tokens.revoke(parent.id));
    view.failAfter(Infinity);
    const after = await open();
    if (writes === 0) await after.tokens.revoke(parent.id); // nothing had happened
    for (const { id } of [parent, child]) assert.equal(await after.tokens.lookup(id), undefined);
    await after.tokens.sweep();
    await after.leases.sweep();
    await after.leases.settled();
    assert.deepEqual([engine.accounts.size, left()], [0, ROOTS]);
    assert.equal(clock.ms, START, 'without waiting for any end');
  });
}

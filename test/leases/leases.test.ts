// Leases over a View: what is stored when, ends, renewals, failing and hanging engines, and death after each write.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { LeaseOffer } from '../../src/core/logical.ts';
import { irrevocableReason, leaseSecondsLeft, Leases, type Lease, type LeaseOrigin } from '../../src/leases/leases.ts';
import { eventually } from '../eventually.ts';
import { CredentialsEngine } from '../fakes/credentials-engine.ts';
import { MemoryView } from '../fakes/memory-view.ts';

const START = 1_700_000_000_000;
const MOUNT = 'mount-1';
const ORIGIN: LeaseOrigin = { path: 'db/creds/app', mount: MOUNT, owner: 'a'.repeat(64), defaultTtlSeconds: 100, maxTtlSeconds: 1_000 };
const yes = () => Promise.resolve(true);

function open() {
  const view = new MemoryView();
  const clock = { ms: START };
  const engines = new Map([[MOUNT, new CredentialsEngine()], ['mount-2', new CredentialsEngine()]]);
  const engine = engines.get(MOUNT)!;
  const failures: string[] = [];
  const reopen = () => new Leases({ view, now: () => clock.ms, keeperOf: (mount) => engines.get(mount), onFailure: (lease) => failures.push(lease.id), engineMilliseconds: 400 });
  const leases = reopen();
  const issue = async (origin: Partial<LeaseOrigin> = {}, offer: Partial<LeaseOffer> = {}, isWanted = yes, among = leases): Promise<Lease> => {
    const made = (await engines.get(origin.mount ?? MOUNT)!.handle({ operation: 'read', path: 'creds/app', mountPoint: 'db/', data: {}, remoteAddress: '' }))!.lease!;
    return among.register({ ...made, ...offer }, { ...ORIGIN, ...origin }, isWanted);
  };
  const sweep = async (among = leases) => { await among.sweep(); await among.settled(); };
  return { view, clock, engines, engine, failures, leases, reopen, issue, sweep };
}

test('register() makes an id of the path and a random end, and stores state and end', async () => {
  const { leases, issue } = open();
  const lease = await issue();
  assert.match(lease.id, /^db\/creds\/app\/[0-9A-Za-z]{24}$/);
  assert.deepEqual(await leases.lookup(lease.id), lease);
  assert.deepEqual([lease.expiresAt - START, lease.limitAt - START, lease.ttlSeconds, lease.state], [60_000, 600_000, 60, { username: 'app-1' }]);
});

for (const { title, offer, origin, ends, limit } of [
  { title: 'takes the mount’s default', offer: { ttlSeconds: 0, maxTtlSeconds: 0 }, origin: {}, ends: 100, limit: 1_000 },
  { title: 'is cut by the engine’s maximum', offer: { ttlSeconds: 900, maxTtlSeconds: 600 }, origin: {}, ends: 600, limit: 600 },
  { title: 'is cut by the mount’s maximum', offer: { ttlSeconds: 9_000, maxTtlSeconds: 9_000 }, origin: {}, ends: 1_000, limit: 1_000 },
  { title: 'is cut by the end of a batch token', offer: { ttlSeconds: 60, maxTtlSeconds: 600 }, origin: { endsBy: START + 30_500 }, ends: 30.5, limit: 30.5 },
] as const) {
  test(`register(): the life of a lease ${title}`, async () => {
    const lease = await open().issue(origin, offer);
    assert.deepEqual([lease.expiresAt - START, lease.limitAt - START], [ends * 1000, limit * 1000]);
  });
}

test('register() takes the secret back when its record cannot be written', async () => {
  const { view, engine, issue } = open();
  view.failAfter(0);
  await assert.rejects(issue(), /told to fail/);
  assert.deepEqual([...engine.accounts], []);
});

test('register() takes the secret back when its owner went meanwhile', async () => {
  const { view, engine, issue } = open();
  await assert.rejects(issue({}, {}, () => Promise.resolve(false)), { code: 'ERR_REQUEST_DENIED' });
  assert.deepEqual([[...engine.accounts], view.records.size], [[], 0]);
});

test('register() of an unwanted secret that the engine does not take back leaves it due', async () => {
  const { engine, issue, sweep, clock, failures } = open();
  engine.behaviour = 'refuses';
  await assert.rejects(issue({}, {}, () => Promise.resolve(false)), { code: 'ERR_REQUEST_DENIED' });
  assert.deepEqual([engine.accounts.size, failures.length], [1, 1]);
  engine.behaviour = 'works';
  clock.ms += 10_000;
  await sweep();
  assert.equal(engine.accounts.size, 0);
});

test('renew() moves the end within the maximum, and with it the time of the revocation', async () => {
  const { engine, clock, leases, issue, sweep } = open();
  const { id } = await issue();
  clock.ms = START + 50_000;
  assert.equal((await leases.renew(id, 0))?.expiresAt, START + 110_000);
  clock.ms = START + 100_000;
  await sweep();
  assert.equal(engine.accounts.size, 1, 'its first end does not count any more');
  assert.equal((await leases.renew(id, 100_000))?.expiresAt, START + 600_000);
  clock.ms = START + 600_000;
  await assert.rejects(leases.renew(id, 10), { message: 'lease expired' });
  await sweep();
  assert.equal(engine.accounts.size, 0);
  assert.equal(await leases.renew(id, 10), undefined);
});

test('renew() obeys an engine that lowers the maximum or refuses, and leases that are not renewable', async () => {
  const { engine, leases, issue } = open();
  const { id } = await issue();
  engine.terms = { ttlSeconds: 60, maxTtlSeconds: 70 };
  assert.equal((await leases.renew(id, 500))?.expiresAt, START + 70_000);
  engine.behaviour = 'refuses';
  await assert.rejects(leases.renew(id, 5), { message: 'the database is down' });
  assert.equal((await leases.lookup(id))?.expiresAt, START + 70_000);
  const fixed = await issue({}, { renewable: false });
  await assert.rejects(leases.renew(fixed.id, 5), { message: 'lease is not renewable' });
});

test('sweep() revokes what ended, exactly once, and leaves no record', async () => {
  const { view, engine, clock, leases, issue, sweep } = open();
  for (let i = 0; i < 200; i++) await issue({}, { ttlSeconds: i < 150 ? 10 : 50 });
  clock.ms += 9_999;
  await sweep();
  assert.equal(engine.accounts.size, 200);
  clock.ms += 1;
  await sweep();
  assert.equal(engine.accounts.size, 50);
  clock.ms += 40_000;
  await Promise.all([sweep(), sweep(), sweep()]);
  await sweep();
  assert.deepEqual([engine.accounts.size, view.records.size], [0, 0]);
  assert.ok([...engine.revocations.values()].every((times) => times === 1));
  assert.deepEqual(await leases.list(''), []);
});

test('sweep() of a core that was down finds what ended meanwhile', async () => {
  const { engine, clock, issue, reopen, sweep } = open();
  await issue();
  clock.ms += 3_600_000;
  await sweep(reopen());
  assert.equal(engine.accounts.size, 0);
});

for (let writes = 0; writes <= 2; writes++) {
  test(`a lease whose core dies ${writes} writes later is revoked in the end and leaves nothing`, async () => {
    const { view, engine, clock, leases, issue, reopen, sweep } = open();
    view.failAfter(writes);
    const lease = await issue().catch(() => undefined);
    if (lease !== undefined) await leases.revoke(lease.id, { sync: true }).catch(() => undefined);
    view.failAfter(Infinity);
    clock.ms += 60_000;
    await sweep(reopen());
    assert.deepEqual([engine.accounts.size, view.records.size], [0, 0]);
  });
}

test('a refused revocation is tried again after 10 s, 20 s, 40 s … and counts as irrevocable after six', async () => {
  const { engine, clock, leases, issue, sweep, failures } = open();
  const { id } = await issue();
  engine.behaviour = 'refuses';
  clock.ms += 60_000;
  for (const [i, seconds] of [10, 20, 40, 80, 160].entries()) {
    await sweep();
    const lease = (await leases.lookup(id))!;
    assert.deepEqual([lease.failure?.attempts, lease.failure?.retryAt, irrevocableReason(lease)], [i + 1, clock.ms + seconds * 1000, undefined]);
    clock.ms += seconds * 1000 - 1;
    await sweep();
    assert.equal((await leases.lookup(id))?.failure?.attempts, i + 1, 'not before its time');
    clock.ms += 1;
  }
  await sweep();
  assert.equal(irrevocableReason((await leases.lookup(id))!), 'the database is down');
  const shown: string[] = [];
  for await (const lease of leases.irrevocable()) shown.push(lease.id);
  assert.deepEqual([shown, failures.length], [[id], 6]);
  await assert.rejects(leases.renew(id, 60), { message: 'lease expired' });
  engine.behaviour = 'works';
  clock.ms += 3_600_000;
  await sweep();
  assert.equal(engine.accounts.size, 0, 'tried again even then');
  for await (const lease of leases.irrevocable()) assert.fail(lease.id);
});

test('the reason that is kept of a foreign error says nothing', async () => {
  const { view, engine, leases, issue } = open();
  const { id } = await issue();
  engine.behaviour = 'breaks';
  await assert.rejects(leases.revoke(id, { sync: true }), TypeError);
  assert.equal((await leases.lookup(id))?.failure?.reason, 'internal error');
  assert.ok(![...view.records.values()].some((record) => record.includes('canary')));
});

test('an engine that hangs does not hold up the leases of another mount', async () => {
  const { engines, engine, clock, leases, issue } = open();
  const other = engines.get('mount-2')!;
  for (let i = 0; i < 40; i++) await issue({}, { ttlSeconds: 1 });
  for (let i = 0; i < 40; i++) await issue({ mount: 'mount-2', path: 'db2/creds/app' }, { ttlSeconds: 2 });
  engine.behaviour = 'hangs';
  clock.ms += 5_000;
  await leases.sweep();
  await eventually('the end of the other leases', () => other.accounts.size === 0);
  assert.equal(engine.accounts.size, 40);
  await leases.settled();
  const [name = ''] = await leases.list('db/creds/app/');
  assert.equal((await leases.lookup(`db/creds/app/${name}`))?.failure?.attempts ?? 0, 1, 'the first ones count as failed');
});

test('revoke() without sync is carried out by the next sweep, with sync at once, and unknown ids are no error', async () => {
  const { engine, leases, issue, sweep, clock, reopen } = open();
  const [later, now] = [await issue(), await issue()];
  await leases.revoke(now.id, { sync: true });
  await leases.revoke(later.id, { sync: false });
  assert.equal(engine.accounts.size, 1);
  assert.equal(leaseSecondsLeft((await leases.lookup(later.id))!, clock.ms), 0);
  await sweep(reopen());
  assert.equal(engine.accounts.size, 0);
  for (const id of [now.id, 'x', '', '../x', 'db//x', `db/creds/app/${'\0'.repeat(24)}`, 'y'.repeat(5_000)]) {
    await leases.revoke(id, { sync: true });
    assert.equal(await leases.lookup(id), undefined);
  }
});

test('revokePrefix() ends what is below the path and nothing beside it', async () => {
  const { leases, issue } = open();
  const inside = [await issue(), await issue({ path: 'db/creds/app/deep' })];
  const beside = [await issue({ path: 'db/creds/apple' }), await issue({ path: 'other/creds/app' })];
  await leases.revokePrefix('db/creds/app', { sync: true });
  for (const { id } of inside) assert.equal(await leases.lookup(id), undefined);
  for (const { id } of beside) assert.ok(await leases.lookup(id));
});

test('revokePrefix() with force forgets what the engine does not revoke, or what has no engine; without it says why', async () => {
  const { engine, engines, leases, issue } = open();
  const { id } = await issue();
  const fine = await issue({ mount: 'mount-2', path: 'db/creds/zoo' });
  engine.behaviour = 'refuses';
  await assert.rejects(leases.revokePrefix('db', { sync: true }), { message: 'the database is down' });
  assert.equal(await leases.lookup(fine.id), undefined, 'one refusal does not keep the others');
  await leases.revokePrefix('db', { sync: true, force: true });
  assert.equal(await leases.lookup(id), undefined);
  const orphan = await issue();
  engines.delete(MOUNT);
  await assert.rejects(leases.revoke(orphan.id, { sync: true }), { message: /engine of the lease is not there/ });
  await leases.revokePrefix('', { sync: false, force: true });
  assert.deepEqual(await leases.list(''), []);
});

test('revokeOwned() and tidy() end the leases of a token that is gone', async () => {
  const { engine, leases, issue, sweep } = open();
  const owners = ['a', 'b', 'c', ''].map((letter) => letter.repeat(64));
  for (const owner of owners) { await issue({ owner }); await issue({ owner }); }
  await leases.revokeOwned(owners[0]!);
  await sweep();
  assert.equal(engine.accounts.size, 6);
  assert.equal(await leases.tidy(async (owner) => owner === owners[2]), 2);
  await sweep();
  assert.equal(engine.accounts.size, 4, 'those without an owner stay, too');
});

test('renewing and revoking the same lease at the same time never leaves a living secret without a lease', async () => {
  for (let round = 0; round < 20; round++) {
    const { view, engine, leases, issue, sweep } = open();
    const { id } = await issue();
    await Promise.allSettled([leases.renew(id, 100), leases.revoke(id, { sync: round % 2 === 0 }), leases.renew(id, 100), leases.revoke(id, { sync: false })]);
    await sweep();
    assert.deepEqual([engine.accounts.size, view.records.size], [0, 0]);
  }
});

test('list() shows folders and leases as Vault does', async () => {
  const { leases, issue } = open();
  const { id } = await issue();
  assert.deepEqual(await leases.list(''), ['db/']);
  assert.deepEqual(await leases.list('db/creds/app/'), [id.slice('db/creds/app/'.length)]);
});

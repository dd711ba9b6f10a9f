// Lockouts: thresholds, time, parallel guesses, restarts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lockouts, type LockoutRule } from '../../../src/auth/method/lockouts.ts';
import { isPurserError, PurserError } from '../../../src/lib/errors.ts';
import { MemoryView } from '../../fakes/memory-view.ts';

const START = 1_700_000_000_000;

function setUp(change: Partial<LockoutRule> = {}) {
  const clock = { ms: START };
  const rule = { threshold: 3, durationSeconds: 60, resetSeconds: 30, isDisabled: false, ...change };
  const view = new MemoryView();
  const open = () => new Lockouts({ view, now: () => clock.ms, rule: () => rule });
  let checked = 0;
  const right = async (): Promise<string> => { checked++; return 'in'; };
  const wrong = async (): Promise<never> => { checked++; throw new PurserError('ERR_LOGIN_INVALID', 'wrong'); };
  /** What the outcomes of several logins were, one after the other. */
  const outcomes = async (lockouts: Lockouts, name: string, ...logins: readonly (() => Promise<string>)[]): Promise<string[]> => {
    const results: string[] = [];
    for (const logIn of logins) results.push(await lockouts.attempt(name, logIn).catch(codeOf));
    return results;
  };
  return { clock, rule, view, open, right, wrong, outcomes, checked: () => checked };
}

const codeOf = (error: unknown): string => (error instanceof PurserError ? error.code : String(error));
const WRONG = 'ERR_LOGIN_INVALID';
const LOCKED = 'ERR_REQUEST_DENIED';

test('attempt() refuses a locked name also with the right password, and without checking it', async () => {
  const { open, right, wrong, outcomes, checked } = setUp();
  const lockouts = open();
  assert.deepEqual(await outcomes(lockouts, 'bob', wrong, wrong, wrong, right), [WRONG, WRONG, WRONG, LOCKED]);
  assert.equal(checked(), 3);
  assert.deepEqual(await outcomes(lockouts, 'alice', right), ['in']);
  assert.deepEqual(await lockouts.locked(), ['bob']);
});

test('attempt() counts from zero after a success, and after the reset time without failures', async () => {
  const { clock, open, right, wrong, outcomes } = setUp();
  const lockouts = open();
  assert.deepEqual(await outcomes(lockouts, 'bob', wrong, wrong, right, wrong, wrong), [WRONG, WRONG, 'in', WRONG, WRONG]);
  clock.ms += 30_000;
  assert.deepEqual(await outcomes(lockouts, 'bob', wrong, wrong, right), [WRONG, WRONG, 'in']);
});

test('a lock ends by time to the millisecond, or by unlock()', async () => {
  const { clock, open, right, wrong, outcomes } = setUp();
  const lockouts = open();
  await outcomes(lockouts, 'bob', wrong, wrong, wrong);
  clock.ms += 59_999;
  assert.deepEqual(await outcomes(lockouts, 'bob', right), [LOCKED]);
  clock.ms += 1;
  assert.deepEqual(await outcomes(lockouts, 'bob', wrong, right), [WRONG, 'in']);
  await outcomes(lockouts, 'bob', wrong, wrong, wrong);
  await lockouts.unlock('bob');
  await lockouts.unlock('nobody');
  assert.deepEqual(await outcomes(lockouts, 'bob', right), ['in']);
});

test('a restart ends no lock', async () => {
  const { clock, open, right, wrong, outcomes } = setUp();
  await outcomes(open(), 'bob', wrong, wrong, wrong);
  assert.deepEqual(await open().locked(), ['bob']);
  assert.deepEqual(await outcomes(open(), 'bob', right), [LOCKED]);
  clock.ms += 60_000;
  assert.deepEqual(await outcomes(open(), 'bob', right), ['in']);
});

test('of a thousand guesses at the same time no more than the threshold are checked', async () => {
  const { open, wrong, checked } = setUp({ threshold: 5 });
  const lockouts = open();
  const slow = async (): Promise<string> => { await new Promise(setImmediate); return wrong(); };
  const results = await Promise.all(Array.from({ length: 1000 }, () => lockouts.attempt('bob', slow).catch(codeOf)));
  assert.equal(checked(), 5);
  assert.equal(results.filter((result) => result === WRONG).length, 5);
  assert.ok(results.every((result) => [WRONG, LOCKED, 'ERR_REQUEST_BUSY'].includes(result)));
});

test('two hundred right logins at the same time all get in', async () => {
  const { open, right } = setUp();
  const lockouts = open();
  const slow = async (): Promise<string> => { await new Promise(setImmediate); return right(); };
  assert.ok((await Promise.all(Array.from({ length: 200 }, () => lockouts.attempt('bob', slow)))).every((result) => result === 'in'));
});

test('errors that are no wrong credentials are not counted', async () => {
  const { open, right, outcomes } = setUp();
  const broken = (): Promise<never> => Promise.reject(new Error('storage'));
  assert.deepEqual(await outcomes(open(), 'bob', broken, broken, broken, broken, right), [...Array<string>(4).fill('Error: storage'), 'in']);
});

test('a rule that changes counts at once: disabled, shorter, other threshold', async () => {
  const { clock, rule, open, right, wrong, outcomes } = setUp();
  const lockouts = open();
  await outcomes(lockouts, 'bob', wrong, wrong, wrong);
  rule.isDisabled = true;
  assert.deepEqual(await outcomes(lockouts, 'bob', right, wrong), ['in', WRONG]);
  rule.isDisabled = false;
  assert.deepEqual(await outcomes(lockouts, 'bob', right), [LOCKED]);
  rule.durationSeconds = 1;
  clock.ms += 1000;
  rule.threshold = 1;
  assert.deepEqual(await outcomes(lockouts, 'bob', wrong, right), [WRONG, LOCKED]);
});

test('tidy() removes records of locks that are over, and no others', async () => {
  const { clock, view, open, wrong, outcomes } = setUp();
  const lockouts = open();
  await outcomes(lockouts, 'old', wrong, wrong, wrong);
  clock.ms += 40_000;
  await outcomes(lockouts, 'new', wrong, wrong, wrong);
  assert.equal((await view.list('')).length, 2);
  clock.ms += 20_000;
  await lockouts.tidy();
  assert.equal((await view.list('')).length, 1);
  assert.deepEqual(await lockouts.locked(), ['new']);
});

test('a lock that cannot be stored is an error, and holds in memory', async () => {
  const { view, open, right, wrong, outcomes } = setUp();
  const lockouts = open();
  view.failAfter(0);
  const results = await outcomes(lockouts, 'bob', wrong, wrong, wrong, right);
  assert.deepEqual([results[0], results[1], results[3]], [WRONG, WRONG, LOCKED]);
  assert.notEqual(results[2], WRONG);
});

test('a record of another version is refused', async () => {
  const { view, open, right } = setUp();
  await view.put('x', Buffer.from('{"v":2}'));
  await assert.rejects(open().attempt('bob', right), (error) => isPurserError(error, 'ERR_RECORD_INVALID'));
});

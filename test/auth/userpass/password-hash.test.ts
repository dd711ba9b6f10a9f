// Password hashes: right and wrong, how many at a time, and what a record may say.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PasswordHasher, passwordHashSchema } from '../../../src/auth/userpass/password-hash.ts';
import { isPurserError } from '../../../src/lib/errors.ts';

test('verify() accepts the password alone, and nothing for nobody', async () => {
  const hasher = new PasswordHasher();
  const hash = await hasher.hash('correct horse');
  assert.deepEqual(passwordHashSchema.parse(hash), hash);
  assert.equal(JSON.stringify(hash).includes('horse'), false);
  for (const [password, expected] of [['correct horse', true], ['Correct horse', false], ['correct horse ', false], ['', false]] as const) {
    assert.equal(await hasher.verify(password, hash), expected, password);
  }
  assert.equal(await hasher.verify('correct horse', undefined), false);
  assert.notEqual((await hasher.hash('correct horse')).salt, hash.salt);
});

test('verify() goes by the parameters of the record, and isOutdated() names those of yesterday', async () => {
  const hasher = new PasswordHasher();
  // scrypt('password', 'NaClNaClNaClNaCl', N = 2^14, r = 8, p = 1), 32 bytes; computed with Python's hashlib.scrypt.
  const old = passwordHashSchema.parse({
    kdf: 'scrypt', cost: 14, blockSize: 8, parallelization: 1, salt: Buffer.from('NaClNaClNaClNaCl').toString('base64'), hash: OLD_HASH,
  });
  assert.equal(await hasher.verify('password', old), true);
  assert.equal(hasher.isOutdated(old), true);
  assert.equal(hasher.isOutdated(await hasher.hash('x')), false);
});

test('a record with parameters out of range does not load', () => {
  const good = { kdf: 'scrypt', cost: 15, blockSize: 8, parallelization: 3, salt: Buffer.alloc(16).toString('base64'), hash: Buffer.alloc(32).toString('base64') };
  assert.equal(passwordHashSchema.safeParse(good).success, true);
  for (const bad of [{ cost: 2 }, { cost: 30 }, { parallelization: 0 }, { salt: '' }, { hash: '' }, { kdf: 'md5' }, { more: 1 }]) {
    assert.equal(passwordHashSchema.safeParse({ ...good, ...bad }).success, false, JSON.stringify(bad));
  }
});

test('so many hash at a time, so many wait, and the next are told to come back', async () => {
  const hasher = new PasswordHasher({ running: 1, waiting: 1 });
  const all = Array.from({ length: 4 }, () => hasher.verify('x', undefined));
  const results = await Promise.allSettled(all);
  assert.deepEqual(results.map(({ status }) => status), ['fulfilled', 'fulfilled', 'rejected', 'rejected']);
  assert.ok(results.slice(2).every((result) => result.status === 'rejected' && isPurserError(result.reason, 'ERR_REQUEST_BUSY')));
  assert.equal(await hasher.verify('x', undefined), false, 'places come free again');
});

const OLD_HASH = '2jrSFmwS7bSHZbMBB0CRUqPirlFiZsaxxBvvNDIWw7g=';

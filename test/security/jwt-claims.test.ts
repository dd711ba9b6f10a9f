// Class 14, JWT claims (CVE-2024-5798, CVE-2020-16250, CVE-2020-16251): what a token says counts only where it is signed as the mount's
// configuration wants, for this audience, by this issuer, at this time. Static keys, on a clock that the test sets.
 

import assert from 'node:assert/strict';
import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { startUnsealed, type TestServer } from '../server/running.ts';

const NOW = 1_800_000_000;
const clock = { seconds: NOW };
const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
const PEM = publicKey.export({ type: 'spki', format: 'pem' }).toString();

let server: TestServer;
const post = (path: string, body: object, token: string | undefined = server.root) => server.call('POST', path, { body, token });
before(async () => {
  server = await startUnsealed({ now: () => clock.seconds * 1000 });
  await post('sys/auth/jwt', { type: 'jwt' });
  await post('auth/jwt/config', { jwt_validation_pubkeys: [PEM], bound_issuer: 'https://issuer' });
  const role = { role_type: 'jwt', user_claim: 'sub', token_policies: 'default' };
  assert.equal((await post('auth/jwt/role/bound', { ...role, bound_audiences: ['purser', 'other'] })).status, 200);
  assert.equal((await post('auth/jwt/role/subject', { ...role, bound_subject: 'ann' })).status, 200);
  assert.equal((await post('auth/jwt/role/exact', { ...role, bound_audiences: 'purser', clock_skew_leeway: -1, expiration_leeway: -1, not_before_leeway: -1 })).status, 200);
});
after(() => server.stop());

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const GOOD = { iss: 'https://issuer', sub: 'ann', aud: 'purser', iat: NOW, exp: NOW + 60 };
function token(claims: object = {}, header: object = {}, key = privateKey): string {
  const text = `${encode({ alg: 'RS256', ...header })}.${encode({ ...GOOD, ...claims })}`;
  return `${text}.${signBytes('sha256', Buffer.from(text), key).toString('base64url')}`;
}
const logIn = async (jwt: string, role = 'bound'): Promise<number> => (await post('auth/jwt/login', { role, jwt }, undefined)).status;

test('a good token logs in, with its audience as a text or in a list', async () => {
  for (const aud of ['purser', ['purser'], ['x', 'other']]) assert.equal(await logIn(token({ aud })), 200);
});

const audiences: readonly unknown[] = [undefined, null, '', [], [''], 'purse', 'purser ', 'Purser', ['x'], ['purser*'], '*', { purser: true }, [['purser']], 7, true, [null]];
for (const aud of audiences) {
  test(`the audience ${JSON.stringify(aud)} is refused where one is bound`, async () => { assert.equal(await logIn(token({ aud })), 400); });
}

test('an audience is refused where the role binds none: the token is meant for somebody', async () => {
  assert.equal(await logIn(token(), 'subject'), 400);
  assert.equal(await logIn(token({ aud: undefined }), 'subject'), 200);
  assert.equal(await logIn(token({ aud: undefined, sub: 'eve' }), 'subject'), 400);
});

for (const iss of [undefined, null, '', 'https://issuer/', 'https://issuer.evil', 'HTTPS://ISSUER', ['https://issuer'], { toString: 'https://issuer' }]) {
  test(`the issuer ${JSON.stringify(iss)} is refused`, async () => { assert.equal(await logIn(token({ iss })), 400); });
}

const forgeries: readonly (readonly [title: string, forge: () => string])[] = [
  ['alg none', () => `${encode({ alg: 'none' })}.${encode(GOOD)}.`],
  ['alg nOnE with a good signature', () => `${encode({ alg: 'nOnE' })}.${token().split('.').slice(1).join('.')}`],
  ['HS256 with the public key as its secret', () => {
    const text = `${encode({ alg: 'HS256' })}.${encode(GOOD)}`;
    return `${text}.${createHmac('sha256', PEM).update(text).digest('base64url')}`;
  }],
  ['HS256 with the DER of the public key', () => {
    const text = `${encode({ alg: 'HS256' })}.${encode(GOOD)}`;
    return `${text}.${createHmac('sha256', createPublicKey(PEM).export({ type: 'spki', format: 'der' })).update(text).digest('base64url')}`;
  }],
  ['the key of a stranger', () => token({}, {}, stranger.privateKey)],
  ['the key of a stranger that the token brings along', () => token({}, { jwk: stranger.publicKey.export({ format: 'jwk' }) }, stranger.privateKey)],
  ['a key that the token says where to find', () => token({}, { jku: `${server.server.address}/keys`, x5u: 'http://127.0.0.1:1/' }, stranger.privateKey)],
  ['RS512 over a signature by RS256', () => `${encode({ alg: 'RS512' })}.${token().split('.').slice(1).join('.')}`],
  ['claims changed after signing', () => { const [header, , signature] = token().split('.'); return [header, encode({ ...GOOD, sub: 'root' }), signature].join('.'); }],
  ['no signature', () => token().replace(/[^.]+$/, '')],
  ['five parts', () => `${token()}.x.y`],
];
for (const [title, forge] of forgeries) test(`${title} is refused`, async () => { assert.equal(await logIn(forge()), 400); });

test('the times count to the second, with the leeways of the role and none where it says so', async () => {
  const at = async (seconds: number, claims: object, role: string): Promise<number> => {
    clock.seconds = NOW + seconds;
    const status = await logIn(token(claims), role);
    clock.seconds = NOW;
    return status;
  };
  assert.deepEqual([await at(59, {}, 'exact'), await at(61, {}, 'exact')], [200, 400]);
  assert.deepEqual([await at(-1, { nbf: NOW }, 'exact'), await at(0, { nbf: NOW }, 'exact')], [400, 200]);
  assert.equal(await at(0, { iat: NOW + 3600, nbf: NOW + 3600, exp: NOW + 7200 }, 'bound'), 400);
  assert.equal(await at(86_400, {}, 'bound'), 400);
});

for (const claims of [{ exp: undefined, iat: undefined }, { exp: '2000000000' }, { exp: null }, { exp: -1 }, { exp: 0 }, { exp: Number.MAX_VALUE, iat: {} }, { nbf: 'x' }, { sub: undefined }, { sub: '' }, { sub: ['ann'] }, { sub: { ann: 1 } }, { sub: 7 }]) {
  test(`the claims ${JSON.stringify(claims)} are refused`, async () => { assert.equal(await logIn(token(claims)), 400); });
}

test('a private key or a symmetric one is not taken as a validation key', async () => {
  for (const pem of [createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' })).export({ type: 'pkcs8', format: 'pem' }), 'secret', '']) {
    assert.equal((await post('auth/jwt/config', { jwt_validation_pubkeys: [pem.toString()] })).status, 400);
  }
  assert.equal(await logIn(token()), 200);
});

// Claims against the bounds of a role, as a table: times at their edges, audiences of every type, nested claims.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { claimAt, mappedClaims, requireAudience, requireClaims, requireTimes, type Leeways } from '../../../src/auth/jwt/claims.ts';
import { isPurserError } from '../../../src/lib/errors.ts';
import type { JsonObject, JsonValue } from '../../../src/lib/json.ts';

const NOW = 1_000_000;
const DEFAULT: Leeways = { clockSkewSeconds: 0, expirationSeconds: 0, notBeforeSeconds: 0 };
const NONE: Leeways = { clockSkewSeconds: -1, expirationSeconds: -1, notBeforeSeconds: -1 };
const isRefused = (check: () => void): boolean => {
  try {
    check();
    return false;
  } catch (error) {
    assert.ok(isPurserError(error, 'ERR_REQUEST_INVALID'), String(error));
    return true;
  }
};

const TIMES: readonly (readonly [string, JsonObject, Leeways, boolean])[] = [
  ['in time', { iat: NOW, exp: NOW + 1 }, NONE, true],
  ['in the second it ends', { iat: NOW - 9, exp: NOW }, NONE, false],
  ['within the default clock skew after its end', { iat: NOW - 90, exp: NOW - 59 }, DEFAULT, true],
  ['at the edge of the default clock skew', { iat: NOW - 90, exp: NOW - 60 }, DEFAULT, false],
  ['within its own clock skew', { iat: NOW - 90, exp: NOW - 9 }, { ...DEFAULT, clockSkewSeconds: 10 }, true],
  ['at the edge of its own clock skew', { iat: NOW - 90, exp: NOW - 10 }, { ...DEFAULT, clockSkewSeconds: 10 }, false],
  ['before nbf by the clock skew', { nbf: NOW + 60, exp: NOW + 600 }, DEFAULT, true],
  ['before nbf by more', { nbf: NOW + 61, exp: NOW + 600 }, DEFAULT, false],
  ['before nbf without leeway', { nbf: NOW + 1, exp: NOW + 600 }, NONE, false],
  ['issued in the future', { nbf: NOW - 1, iat: NOW + 61, exp: NOW + 600 }, DEFAULT, false],
  ['without exp', { iat: NOW, nbf: NOW }, DEFAULT, false],
  ['without exp where the role says how long it lives', { iat: NOW - 50 }, { ...NONE, expirationSeconds: 60 }, true],
  ['without exp, older than the role says', { iat: NOW - 60 }, { ...NONE, expirationSeconds: 60 }, false],
  ['without any time', {}, { ...DEFAULT, expirationSeconds: 60 }, false],
  ['with an end only, near', { exp: NOW + 200 }, DEFAULT, true],
  ['with an end only, far away', { exp: NOW + 211 }, DEFAULT, false],
  ['with an end only, far away, where the role allows it', { exp: NOW + 3000 }, { ...DEFAULT, notBeforeSeconds: 3000 }, true],
  ['with exp as text', { iat: NOW, exp: `${NOW + 60}` }, DEFAULT, false],
  ['with exp null', { iat: NOW, exp: null }, { ...DEFAULT, expirationSeconds: 60 }, false],
  ['with a negative exp', { iat: NOW, exp: -1 }, DEFAULT, false],
  ['with nbf as an object', { exp: NOW + 60, nbf: {} }, DEFAULT, false],
  ['with exp beyond all numbers', { iat: NOW, exp: Infinity }, DEFAULT, false],
];
for (const [title, claims, leeways, isGood] of TIMES) {
  test(`requireTimes() ${isGood ? 'takes' : 'refuses'} a token ${title}`, () => {
    assert.equal(!isRefused(() => requireTimes(claims, leeways, NOW)), isGood);
  });
}

const AUDIENCES: readonly (readonly [JsonValue | undefined, readonly string[], boolean])[] = [
  ['a', ['a'], true], ['a', ['b', 'a'], true], [['x', 'a'], ['a'], true], ['b', ['a'], false], [['b', 'c'], ['a'], false], ['A', ['a'], false], ['a ', ['a'], false],
  [undefined, ['a'], false], [null, ['a'], false], [[], ['a'], false], ['', ['a'], false], [undefined, [], true], [[], [], true], ['a', [], false], [['a'], [], false],
  [1, ['1'], false], [true, ['true'], false], [{ a: 'a' }, ['a'], false], [['a', 1], ['a'], false], [['a', ['a']], ['a'], false], [[['a']], ['a'], false], [{ 0: 'a', length: 1 }, ['a'], false],
];
for (const [aud, bound, isGood] of AUDIENCES) {
  test(`requireAudience() ${isGood ? 'takes' : 'refuses'} ${JSON.stringify(aud)} for ${JSON.stringify(bound)}`, () => {
    assert.equal(!isRefused(() => requireAudience(aud === undefined ? {} : { aud }, bound)), isGood);
  });
}

const CLAIMS: JsonObject = {
  team: 'red', groups: ['dev', 'ops'], level: 3, admin: true, 'a/b': 'slash', 'm~n': 'tilde', '/flat': 'x', '': 'empty', nothing: null,
  realm: { roles: ['r1', 'r2'], deep: { name: 'n' } },
};
const BOUND: readonly (readonly [Record<string, (string | number | boolean)[]>, boolean, boolean])[] = [
  [{ team: ['red'] }, false, true], [{ team: ['blue', 'red'] }, false, true], [{ team: ['r*'] }, false, false], [{ team: ['r*'] }, true, true], [{ team: ['*'] }, true, true], [{ team: ['b*'] }, true, false],
  [{ groups: ['ops'] }, false, true], [{ groups: ['o*'] }, true, true], [{ groups: ['admin'] }, false, false], [{ team: ['red'], groups: ['admin'] }, false, false],
  [{ level: [3] }, false, true], [{ level: ['3'] }, false, false], [{ level: ['*'] }, true, false], [{ admin: [true] }, false, true], [{ admin: ['true'] }, false, false], [{ admin: [1] }, false, false],
  [{ '/realm/roles': ['r2'] }, false, true], [{ '/realm/roles/0': ['r1'] }, false, true], [{ '/realm/roles/00': ['r1'] }, false, false], [{ '/realm/deep/name': ['n'] }, false, true],
  [{ '/a~1b': ['slash'] }, false, true], [{ '/m~0n': ['tilde'] }, false, true], [{ '/': ['empty'] }, false, true], [{ 'realm.deep.name': ['n'] }, false, false],
  [{ missing: ['*'] }, true, false], [{ nothing: ['*'] }, true, false], [{ realm: ['*'] }, true, false], [{ '/realm/missing/x': ['*'] }, true, false], [{ constructor: ['*'] }, true, false], [{ '/__proto__/x': ['*'] }, true, false],
  [{ '/team/length': [3] }, false, false], [{ '/groups/length': [2] }, false, false], [{ [`/${'x/'.repeat(100)}`]: ['*'] }, true, false],
];
for (const [bound, isGlob, isGood] of BOUND) {
  test(`requireClaims() ${isGood ? 'takes' : 'refuses'} ${JSON.stringify(bound).slice(0, 60)}${isGlob ? ' as a glob' : ''}`, () => {
    assert.equal(!isRefused(() => requireClaims(CLAIMS, bound, isGlob)), isGood);
  });
}

test('mappedClaims() copies texts, numbers and booleans, leaves out what is not there, refuses the rest', () => {
  assert.deepEqual(mappedClaims(CLAIMS, { team: 't', level: 'l', admin: 'a', '/realm/deep/name': 'n', missing: 'm', nothing: 'x', toString: 'y' }), { t: 'red', l: '3', a: 'true', n: 'n' });
  assert.equal(Object.hasOwn(mappedClaims(CLAIMS, { team: '__proto__' }), '__proto__'), true);
  for (const name of ['groups', 'realm']) assert.throws(() => mappedClaims(CLAIMS, { [name]: 'x' }), (error: unknown) => isPurserError(error, 'ERR_REQUEST_INVALID'));
});

test('claimAt() never leaves the claims', () => {
  for (const name of ['toString', '__proto__', '/toString', '/realm/constructor', '/groups/-1', '/groups/1e0']) assert.equal(claimAt(CLAIMS, name), undefined, name);
});

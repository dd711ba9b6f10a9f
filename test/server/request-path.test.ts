// The request target: decoded once, refused when two readers could read it differently.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { ErrorCode } from '../../src/lib/error-codes.ts';
import { isPurserError } from '../../src/lib/errors.ts';
import { parseTarget, type Verb } from '../../src/server/http/request-path.ts';

const accepted: readonly (readonly [method: string, url: string, verb: Verb, path: string])[] = [
  ['GET', '/v1/secret/data/a', 'read', 'secret/data/a'],
  ['GET', '/v1/secret/data/a%20b', 'read', 'secret/data/a b'],
  ['GET', '/v1/secret/data/%C3%A4', 'read', 'secret/data/ä'],
  ['GET', '/v1/secret/data/a%2Fb', 'read', 'secret/data/a/b'],
  ['GET', '/v1/secret/data/a%252Fb', 'read', 'secret/data/a%2Fb'],
  ['GET', '/v1/secret/data/a+b', 'read', 'secret/data/a+b'],
  ['GET', '/v1/secret/data/..a', 'read', 'secret/data/..a'],
  ['GET', '/v1/secret/data/a...', 'read', 'secret/data/a...'],
  ['POST', '/v1/secret/data/a', 'write', 'secret/data/a'],
  ['PUT', '/v1/secret/data/a?x=y', 'write', 'secret/data/a'],
  ['PATCH', '/v1/secret/data/a', 'patch', 'secret/data/a'],
  ['DELETE', '/v1/secret/data/a', 'delete', 'secret/data/a'],
  ['LIST', '/v1/secret/metadata', 'list', 'secret/metadata/'],
  ['LIST', '/v1/secret/metadata/', 'list', 'secret/metadata/'],
  ['GET', '/v1/sys/internal/ui/mounts/secret/', 'read', 'sys/internal/ui/mounts/secret'],
  ...['1', 't', 'T', 'TRUE', 'true', 'True'].map((flag) => ['GET', `/v1/a/b?list=${flag}`, 'list', 'a/b/'] as const),
  ...['0', 'f', 'F', 'FALSE', 'false', 'False', ''].map((flag) => ['GET', `/v1/a/b?list=${flag}`, 'read', 'a/b'] as const),
];

const refused: readonly (readonly [method: string, url: string, code: ErrorCode])[] = [
  ...['..', '.', '%2e%2e', '%2E.', '.%2e', '%2e', '', '/x', 'x//y', '../../sys/seal', 'a/../b', 'a/./b', 'a%2f..%2fb', 'a%2f%2fb', '%2fa',
    'a%00b', 'a%0ab', 'a%7f', 'a%C2%85', 'a%5cb', 'a\\b', 'a%E2%80%8B', 'a%E2%80%AE', 'a%EF%BB%BF', 'a%C2%A0', 'a%E2%80%A8', 'a%F3%A0%80%81',
    '%', '%2', '%zz', '%ff', '%c0%ae%c0%ae', '%ed%a0%80', 'a'.repeat(1_100)].map((path) => ['GET', `/v1/${path}`, 'ERR_REQUEST_INVALID'] as const),
  ...['POST', 'PUT', 'PATCH', 'DELETE', 'GET'].map((method) => [method, '/v1/secret/data/a/', 'ERR_REQUEST_INVALID'] as const),
  ['POST', '/v1/sys/policy/a/', 'ERR_REQUEST_INVALID'],
  ['GET', '/v1/a?list=yes', 'ERR_REQUEST_INVALID'],
  ['GET', `/v1/a?${'x&'.repeat(70)}`, 'ERR_REQUEST_INVALID'],
  ['OPTIONS', '/v1/a', 'ERR_REQUEST_UNSUPPORTED'],
  ['LINK', '/v1/a', 'ERR_REQUEST_UNSUPPORTED'],
];

describe('parseTarget()', () => {
  for (const [method, url, verb, path] of accepted) {
    test(`parseTarget() reads ${method} ${url} as ${verb} ${path}`, () => {
      const target = parseTarget(method, url);
      assert.deepEqual([target?.verb, target?.path], [verb, path]);
    });
  }
  for (const [method, url, code] of refused) {
    test(`parseTarget() refuses ${method} ${JSON.stringify(url.slice(0, 60))} with ${code}`, () => {
      assert.throws(() => parseTarget(method, url), (error) => isPurserError(error, code));
    });
  }

  for (const url of ['/', '/v1', '/v2/secret', '/ui/', '//v1/secret', 'http://host/v1/a']) {
    test(`parseTarget() does not know ${url}`, () => assert.equal(parseTarget('GET', url), undefined));
  }

  test('parseTarget() gives query parameters without list, and __proto__ as a parameter like any other', () => {
    const target = parseTarget('GET', '/v1/a?version=2&list=false&__proto__=x&version=3');
    assert.deepEqual(Object.entries(target?.query ?? {}), [['version', '3'], ['__proto__', 'x']]);
    assert.equal(({} as { x?: string }).x, undefined);
  });

  test('parseTarget() never lets a segment through that another program would resolve', () => {
    fc.assert(fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), (text) => {
      let target;
      try { target = parseTarget('GET', `/v1/${encodeURIComponent(text)}`); } catch { return; }
      assert.equal(target?.path, text);
      for (const segment of target?.path.split('/') ?? []) assert.ok(segment !== '' && segment !== '.' && segment !== '..');
      assert.doesNotMatch(target?.path ?? '', /[\p{C}\\]/u);
    }));
  });
});

import test from 'node:test';
import assert from 'node:assert/strict';
import { ERROR_CODES } from '../../src/lib/error-codes.ts';
import { sourceFiles } from '../source-tree.ts';

const LISTED = new Set<string>(Object.keys(ERROR_CODES));
/** Codes of Node itself that the source compares with. */
const FOREIGN = /^ERR_(?:SOCKET|TLS|SSL|OUT_OF_RANGE|INVALID|STREAM|HTTP|UNHANDLED|MODULE|CRYPTO|OSSL|JWT|JW[SEK]|JOSE|LIBUV|WORKER|SERVER|IPC)_?/;
/** Listed for a part that is still being built. Must be empty when the issue ends. */
const NOT_USED_YET: readonly string[] = [];

/** Whole codes; `ERR_CLIENT_` and `ERR_RE(?:SOLVE|…)` in a comparison by area are none. */
const codesIn = (text: string) => text.match(/\bERR_[A-Z0-9_]*[A-Z0-9]\b(?!\()/g) ?? [];
const FILES = sourceFiles().filter(({ path }) => path !== 'lib/error-codes.ts');

test('every error code in the source, comments included, is in the list', () => {
  const unknown = FILES.flatMap(({ path, text }) => codesIn(text).filter((code) => !LISTED.has(code) && !FOREIGN.test(code)).map((code) => `${path}: ${code}`));
  assert.deepEqual(unknown, []);
});

test('every listed code is thrown or compared somewhere outside comments', () => {
  const used = new Set(FILES.flatMap(({ text }) => [...text.matchAll(/['"](ERR_[A-Z0-9_]+)['"]/g)].map((match) => match[1])));
  assert.deepEqual([...LISTED].filter((code) => !used.has(code)).sort(), [...NOT_USED_YET].sort());
});

test('ERROR_CODES are named ERR_<AREA>_<WHAT> and explained in one lowercase line without a full stop', () => {
  for (const [code, meaning] of Object.entries(ERROR_CODES)) {
    assert.match(code, /^ERR_[A-Z]+(?:_[A-Z]+)+$/);
    assert.match(meaning, /^(?:[a-z]|[A-Z]{2})[^\n]{9,}[^.\n]$/, code);
  }
});

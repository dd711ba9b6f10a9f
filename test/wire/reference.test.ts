import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { isPurserError } from '../../src/lib/errors.ts';
import { MAX_REFERENCE_BYTES, dataSegmentHint, describeReference, formatReference, isReference, parseReference } from '../../src/wire/reference.ts';
import type { Reference } from '../../src/wire/reference.ts';

const VECTORS = JSON.parse(readFileSync(new URL('../vectors/references.json', import.meta.url), 'utf8')) as {
  readonly valid: readonly { readonly text: string; readonly reference: Reference }[];
  readonly invalid: readonly { readonly text: string; readonly position?: number; readonly reason: string }[];
};

for (const { text, reference } of VECTORS.valid) {
  test(`parseReference() reads ${text}`, () => {
    assert.deepEqual(parseReference(text), reference);
    assert.equal(isReference(text), true);
    assert.deepEqual(parseReference(formatReference(reference)), reference);
    assert.ok(Buffer.byteLength(formatReference(reference)) <= Buffer.byteLength(text) + (text.startsWith('se:') ? 4 : 0));
  });
}

for (const { text, position, reason } of VECTORS.invalid) {
  test(`parseReference() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseReference(text), (error: unknown) => {
      assert.ok(isPurserError(error, 'ERR_REFERENCE_SYNTAX'), String(error));
      assert.ok(error.message.includes(reason), error.message);
      if (position !== undefined) assert.ok(error.message.includes(`at character ${position}:`), error.message);
      assert.ok(!error.message.includes('CANA') && !error.message.includes('RY'), error.message);
      assert.match(error.hint ?? '', /purser:\/\//);
      return true;
    });
  });
}

test('parseReference() names the path in an error once the path is known', () => {
  assert.throws(() => parseReference('purser://secret/db/prod?version=0'), { message: /^the reference to secret\/db\/prod is malformed at character 25: version must be/ });
});

test(`parseReference() takes ${MAX_REFERENCE_BYTES} bytes and not one more`, () => {
  const start = 'purser://secret/';
  const rest = MAX_REFERENCE_BYTES - start.length;
  assert.equal(parseReference(start + 'a'.repeat(rest)).path.length, rest + 7);
  for (const text of [start + 'a'.repeat(rest + 1), start + 'ü'.repeat(rest / 2 + 1), start + 'a'.repeat(10_000_000)]) {
    assert.throws(() => parseReference(text), { code: 'ERR_REFERENCE_SYNTAX', message: /longer than 4096 bytes/ });
  }
});

test('isReference() takes whatever is meant as a reference, so that a wrong one is refused and not passed on', () => {
  for (const text of ['purser://', 'se://', 'PURSER://x', ' purser://secret/x', '\n\tSe://']) assert.equal(isReference(text), true, text);
  for (const text of ['', 'purser:/x', 'x purser://secret/x', 'xpurser://a', 'sse://a', 'https://a', '${purser://secret/x}']) assert.equal(isReference(text), false, text);
});

test('describeReference() shows everything but the default', () => {
  const reference = parseReference('purser://secret/db?default=CANARY&version=2&encoding=hex#a.b');
  assert.equal(describeReference(reference), 'purser://secret/db?version=2&encoding=hex#a.b');
  assert.equal(describeReference(parseReference('purser://secret/db?optional')), 'purser://secret/db?optional');
});

test('dataSegmentHint() shows the path without data/ only where KV version 2 might be meant', () => {
  const hint = (text: string) => dataSegmentHint(parseReference(text));
  assert.equal(hint('purser://secret/data/db/prod?default=CANARY#password'), 'a reference has no data/ segment: try purser://secret/db/prod#password');
  for (const text of ['purser://secret/data', 'purser://secret/db/data', 'purser://secret/datax/db', 'purser://data/db']) assert.equal(hint(text), undefined, text);
});

// Text that the grammar can carry: any characters but controls and half surrogate pairs.
const text = fc.string({ unit: 'grapheme', maxLength: 12 }).map((value) => value.replace(/\p{Cc}/gu, ''));
const name = text.filter((value) => value !== '' && value !== '.' && value !== '..' && !value.includes('/'));
const reference: fc.Arbitrary<Reference> = fc.record({
  path: fc.array(name, { minLength: 2, maxLength: 5 }).map((segments) => segments.join('/')),
  field: text.filter((value) => value !== ''),
  version: fc.integer({ min: 1, max: 2_147_483_647 }),
  default: text,
  isOptional: fc.boolean(),
  isJson: fc.constant(true as const),
  encoding: fc.constantFrom('raw' as const, 'base64' as const, 'hex' as const),
}, { requiredKeys: ['path', 'isOptional', 'encoding'] }).map((value) => ({ ...value, isOptional: value.isOptional && value.default === undefined, ...(value.isJson === true ? { encoding: 'raw' as const } : {}) }));

test('formatReference() and parseReference() are inverse', () => {
  fc.assert(fc.property(reference, (value) => {
    assert.deepEqual(parseReference(formatReference(value)), value);
    assert.ok(!/[\s{}]/.test(formatReference(value)));
  }), { numRuns: 2000 });
});

test('parseReference() answers any text with a reference that round-trips, or ERR_REFERENCE_SYNTAX', () => {
  const fragment = fc.constantFrom('purser://', 'se://', 'secret', '/', '?', '#', '&', '=', '%', '%2f', '%41', '%C3%BC', 'version', '1', 'default', 'optional', 'encoding', 'hex', '.', '..', '@', ':', '+', ' ', '\ud800', '\u0000');
  fc.assert(fc.property(fc.constantFrom('purser://secret/', 'purser://', 'se://a/b/', ''), fc.array(fc.oneof({ weight: 5, arbitrary: fragment }, { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 3 }) }), { maxLength: 12 }), (start, rest) => {
    let parsed: Reference;
    try {
      parsed = parseReference(start + rest.join(''));
    } catch (error) {
      assert.ok(isPurserError(error, 'ERR_REFERENCE_SYNTAX'), String(error));
      return;
    }
    assert.deepEqual(parseReference(formatReference(parsed)), parsed);
    assert.ok(!parsed.path.split('/').some((segment) => segment === '' || segment === '.' || segment === '..'));
    assert.doesNotMatch(`${parsed.path}${parsed.field ?? ''}${parsed.default ?? ''}`, /[\p{Cc}\p{Surrogate}]/u);
  }), { numRuns: 5000 });
});

import test from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isTemplate, parseTemplate } from '../../src/wire/template.ts';
import { formatReference, parseReference } from '../../src/wire/reference.ts';

/** Literals as text, references as [canonical text]. */
const shown = (text: string) => parseTemplate(text).map((part) => part.kind === 'literal' ? part.text : [formatReference(part.reference)]);

const VALID: readonly (readonly [string, readonly (string | readonly string[])[]])[] = [
  ['', []],
  ['plain', ['plain']],
  ['purser://secret/db#p', [['purser://secret/db#p']]],
  ['se://secret/db/p', [['purser://secret/db#p']]],
  ['${purser://secret/db#p}', [['purser://secret/db#p']]],
  ['postgres://app:${purser://secret/db/prod#password}@db/app', ['postgres://app:', ['purser://secret/db/prod#password'], '@db/app']],
  ['${purser://secret/a}${se://secret/b/c}', [['purser://secret/a'], ['purser://secret/b#c']]],
  ['a${purser://secret/a}-${purser://secret/b?version=2}z', ['a', ['purser://secret/a'], '-', ['purser://secret/b?version=2'], 'z']],
  ['$${purser://secret/a}', ['${purser://secret/a}']],
  ['$${HOME} ${purser://secret/a} ${HOME} $$', ['${HOME} ', ['purser://secret/a'], ' ${HOME} $$']],
  ['$$${purser://secret/a}', ['$${purser://secret/a}']],
  ['$${x}$${purser://y', ['${x}${purser://y']],
  // Not a template: nothing of it is touched, so that other programs' escapes survive.
  ['$${HOME} $$ ${HOME} {{ x }}', ['$${HOME} $$ ${HOME} {{ x }}']],
  ['see purser://secret/a', ['see purser://secret/a']],
  ['${ purser://secret/a}', ['${ purser://secret/a}']],
  ['\u0000\ud800${purser://secret/a}', ['\u0000\ud800', ['purser://secret/a']]],
];

for (const [text, expected] of VALID) {
  test(`parseTemplate() splits ${JSON.stringify(text)}`, () => {
    assert.deepEqual(shown(text), expected);
    assert.equal(isTemplate(text), /\$\{(?:purser|se):/.test(text) || /^(?:purser|se):/.test(text));
  });
}

for (const text of ['${purser://secret/a', '${purser://secret}', '${PURSER://secret/a}', 'x${se://a}', '${purser://secret/a?default=${b}}', '${purser://a/b ${purser://a/c}', ' purser://secret/a', 'purser://secret/a,purser://secret/b c']) {
  test(`parseTemplate() refuses ${JSON.stringify(text)}`, () => {
    assert.equal(isTemplate(text), true);
    assert.throws(() => parseTemplate(text), { code: 'ERR_REFERENCE_SYNTAX' });
  });
}

test('parseTemplate() gives back what a template was made of', () => {
  const references = ['purser://secret/a', 'purser://secret/b#c.d', 'purser://x/y/z?version=7&encoding=hex'];
  const literal = fc.string({ maxLength: 8 }).map((text) => text.replaceAll('$', '%'));
  fc.assert(fc.property(fc.array(fc.tuple(literal, fc.constantFrom(...references))), literal, fc.boolean(), (pairs, end, escaped) => {
    const tail = escaped ? '$${purser://' : '';
    const text = `${pairs.map(([before, reference]) => `${before}\${${reference}}`).join('')}${end}${tail}`;
    if (/^\s*(?:purser|se):/i.test(text)) return;
    const rebuilt = parseTemplate(text).map((part) => part.kind === 'literal' ? part.text : `\${${formatReference(part.reference)}}`).join('');
    assert.equal(rebuilt, text.replace('$${', '${'));
    assert.deepEqual(parseTemplate(text).flatMap((part) => part.kind === 'reference' ? [part.reference] : []), pairs.map(([, reference]) => parseReference(reference)));
  }));
});

test('parseTemplate() stays linear on long hostile text', () => {
  const start = process.hrtime.bigint();
  assert.throws(() => parseTemplate('${purser://'.repeat(100_000)), { code: 'ERR_REFERENCE_SYNTAX' });
  assert.equal(parseTemplate('$${purser://'.repeat(100_000)).length, 1);
  assert.equal(parseTemplate('$'.repeat(1_000_000)).length, 1);
  assert.equal(parseTemplate(`${'${x '.repeat(100_000)}\${purser://a/b}`).length, 2);
  assert.ok(process.hrtime.bigint() - start < 30_000_000_000n);
});

// What a variable with a longer text says as a template: the same bytes, or nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseTemplateText } from '../../src/agent/template.ts';
import { renderTemplate } from '../../src/agent/template-render.ts';
import { templateTextOf } from '../../src/agent/variable-template.ts';
import { parseTemplate } from '../../src/wire/template.ts';
import type { Part } from '../../src/wire/template.ts';

const of = (text: string): string | undefined => templateTextOf(parseTemplate(text));

test('templateTextOf() keeps text and names secrets', () => {
  assert.equal(of('postgres://${purser://secret/db/prod#user}:${se://secret/db/prod/password}@db/app'), 'postgres://{{secret "secret/db/prod" "user"}}:{{secret "secret/db/prod" "password"}}@db/app');
  assert.equal(of('x${purser://secret/db/prod}'), 'x{{secret "secret/db/prod"}}');
});

for (const text of ['x${purser://a/b?version=2#c}', 'x${purser://a/b?default=d#c}', 'x${purser://a/b?optional}', 'x${purser://a/b?encoding=hex#c}', 'x${purser://a/b?json}', 'x${purser://a/b#c"d}',
  '{{x}}${purser://a/b}', '{${purser://a/b}', '\\${purser://a/b}', '${purser://a/b}}']) {
  test(`templateTextOf() says nothing of ${text}`, () => { assert.equal(of(text), undefined); });
}

test('what templateTextOf() says renders to the text with the values in place, whatever the text is', () => {
  const literal = fc.string({ unit: fc.constantFrom('{', '}', '\\', '~', '!', '"', '#', ' ', '\n', 'a', '$', '^', '&', '>') }).map((text): Part => ({ kind: 'literal', text }));
  const reference = fc.constantFrom('user', 'a.b', 'x y').map((field): Part => ({ kind: 'reference', reference: { path: 'secret/db', field, isOptional: false, encoding: 'raw' } }));
  fc.assert(fc.property(fc.array(fc.tuple(literal, reference), { minLength: 1, maxLength: 4 }), literal, (pairs, last) => {
    const parts = [...pairs.flat(), last].filter((part) => part.kind === 'reference' || part.text !== '');
    const text = templateTextOf(parts);
    if (text === undefined) return;
    const template = parseTemplateText(text, 'variable X');
    const rendered = renderTemplate(template, template.secrets.map(({ field }) => `<${field}>`), 'variable X');
    assert.equal(Buffer.from(rendered).toString(), parts.map((part) => part.kind === 'literal' ? part.text : `<${part.reference.field}>`).join(''));
  }), { numRuns: 2000 });
});

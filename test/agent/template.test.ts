// Templates: what they give, compared with Handlebars itself; every refusal; and that no template, however hostile, takes long.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import Handlebars from 'handlebars';
import { MAX_ITERATIONS, MAX_STEPS, renderTemplate } from '../../src/agent/template-render.ts';
import { parseTemplateText } from '../../src/agent/template.ts';
import { isPurserError } from '../../src/lib/errors.ts';
import type { JsonObject, JsonValue } from '../../src/lib/json.ts';

const ORIGIN = 'label purser.template.conf';
const DATABASE: JsonObject = { password: 'p<&"\'w\n', port: 5432, user: 'ünï', list: ['a', 'b'], map: { x: { y: 'z' } }, gone: null };
const WORLD: Readonly<Record<string, JsonObject>> = { 'secret/db': DATABASE, 'secret/one': { only: 'single' }, 'secret/empty': {}, 'secret/flat': { b: '2', a: '1', 10: 'ten' } };

function valueOf(path: string, field: string | undefined): JsonValue {
  const data = WORLD[path] as JsonObject;
  return field === undefined ? data : data[field] as JsonValue;
}

function render(text: string): string {
  const template = parseTemplateText(text, ORIGIN);
  return Buffer.from(renderTemplate(template, template.secrets.map(({ path, field }) => valueOf(path, field)), ORIGIN)).toString();
}

const rendered: readonly (readonly [text: string, result: string])[] = [
  ['', ''], ['plain { } text', 'plain { } text'],
  ['{{secret "secret/db" "password"}}', 'p<&"\'w\n'], ["{{{secret 'secret/db' 'password'}}}", 'p<&"\'w\n'],
  ['{{secret "secret/db" "port"}}', '5432'], ['{{secret "secret/one"}}', 'single'], ['{{secret "secret/flat"}}', '{"10":"ten","b":"2","a":"1"}'],
  ['{{secret "secret/db" "map"}}', '{"x":{"y":"z"}}'],
  ['{{base64 (secret "secret/one")}}', 'c2luZ2xl'], ['{{json (secret "secret/one")}}', '{"only":"single"}'], ['{{json (secret "secret/one" "only")}}', '"single"'],
  ['{{json (secret "secret/db" "port")}}', '5432'], ['{{base64 (json (secret "secret/one"))}}', Buffer.from('{"only":"single"}').toString('base64')],
  ['{{json (base64 (secret "secret/one"))}}', '"c2luZ2xl"'], ['{{json (secret "secret/db" "gone")}}', 'null'],
  ['{{#each (secret "secret/flat")}}{{@key}}={{this}};{{/each}}', '10=ten;b=2;a=1;'],
  ['{{#each (secret "secret/one")}}{{@key}}={{.}}{{/each}}', 'only=single'], ['{{#each (secret "secret/empty")}}x{{/each}}', ''],
  ['{{#each (secret "secret/db" "list")}}{{@key}}{{this}}{{/each}}', '0a1b'],
  ['{{#each (secret "secret/db" "map")}}{{@key}}:{{#each this}}{{@key}}:{{json this}}{{/each}}{{/each}}', 'x:y:"z"'],
  ['a\n{{#each (secret "secret/one")}}\n  {{@key}}\n{{/each}}\nb', 'a\n  only\nb'], ['a  {{~secret "secret/one"~}}  b', 'asingleb'],
  ['a{{! a comment }}b{{!-- }} --}}c', 'abc'], ['\\{{secret "secret/one"}}', '{{secret "secret/one"}}'], ['{{[secret] "secret/one"}}', 'single'],
];

for (const [text, result] of rendered) {
  test(`renderTemplate() gives ${JSON.stringify(result)} for ${JSON.stringify(text)}`, () => { assert.equal(render(text), result); });
}

const HOSTILE_NAMES = ['constructor', '__proto__', 'toString', 'lookup', 'with', 'if', 'unless', 'log', 'helperMissing', 'blockHelperMissing', 'password', '@root', '@index', '@first', '@root.constructor', 'this.constructor', './x', '../x', '@../key', 'this.x', 'a.b', 'secret/db', '[a b]', 'each'];

const refused: readonly (readonly [text: string, says: RegExp])[] = [
  ...HOSTILE_NAMES.flatMap((name): (readonly [string, RegExp])[] => [
    [`{{${name}}}`, /line 1: /], [`{{${name} "x"}}`, /line 1: /], [`{{#${name} "x"}}{{/${name}}}`, /line 1: /], [`{{json (${name} "x")}}`, /line 1: /], [`{{json ${name}}}`, /line 1: /],
    [`{{#each (secret "secret/db")}}{{${name}}}{{/each}}`, /line 1: /], [`{{#each ${name}}}{{/each}}`, /line 1: /],
  ]),
  ...['{{> x}}', '{{#> x}}{{/x}}', '{{> (secret "a/b")}}', '{{#*inline "x"}}{{/inline}}', '{{* x}}'].map((text): [string, RegExp] => [text, /partials and decorators are not possible/]),
  ['{{secret}}', /secret takes a path/], ['{{secret x}}', /secret takes a path/], ['{{secret 1}}', /secret takes a path/], ['{{secret "a/b" "c" "d"}}', /secret takes a path/], ['{{secret (secret "a/b")}}', /secret takes a path/],
  ['{{#each (secret "a/b")}}{{secret this}}{{/each}}', /secret takes a path/], ['{{#each (secret "a/b")}}{{secret "a/b" @key}}{{/each}}', /secret takes a path/], ['{{secret "a/b" null}}', /secret takes a path/],
  ['{{secret "a/b" version=1}}', /named arguments/], ['{{base64 this}}', /inside \{\{#each\}\} only/], ['{{json @key}}', /inside \{\{#each\}\} only/], ['{{this}}', /inside/], ['{{@key}}', /inside/],
  ['{{#each (secret "a/b")}}{{/each}}{{this}}', /inside/],
  ['{{base64}}', /base64 takes one argument/], ['{{base64 (secret "a/b") (secret "a/b")}}', /base64 takes one/], ['{{base64 "text"}}', /a value is/], ['{{json 1}}', /a value is/], ['{{json true}}', /a value is/], ['{{json undefined}}', /a value is/],
  ['{{#each (secret "a/b")}}{{else}}{{/each}}', /inverse block/], ['{{^each (secret "a/b")}}{{/each}}', /inverse block/], ['{{#each (secret "a/b") as |x|}}{{/each}}', /block parameters/], ['{{#each (secret "a/b")}}{{#each this as |k v|}}{{/each}}{{/each}}', /block parameters/],
  ['{{#each (json (secret "a/b"))}}{{/each}}', /each takes/], ['{{#each (secret "a/b")}}{{#each @key}}{{/each}}{{/each}}', /each takes/], ['{{#each "ab"}}{{/each}}', /a value is/], ['{{#each}}{{/each}}', /only block/],
  ['{{#if (secret "a/b")}}{{/if}}', /only block/], ['{{#secret "a/b"}}{{/secret}}', /only block/], ['{{"secret" "a/b"}}', /paths such as/], ['{{12}}', /paths such as/],
  ['{{#each (secret "a/b")}}'.repeat(5) + '{{/each}}'.repeat(5), /nested more than 4 deep/], [`{{${'json ('.repeat(20)}secret "a/b"${')'.repeat(20)}}}`, /brackets are nested more than 8 deep/],
  ['{{secret "noslash"}}', /path or the field of a secret is malformed/], ['{{secret ""}}', /malformed/], ['{{secret "a/../b"}}', /malformed/], ['{{secret "a//b"}}', /malformed/], ['{{secret "a/b" ""}}', /malformed/], ['{{secret "purser://a/b"}}', /malformed/], ['{{secret "a/b\nc"}}', /malformed/],
  ['{{', /syntax is not/], ['a\nb {{secret "a/b"', /line 2: the syntax/], ['{{/each}}', /syntax is not/], ['{{#each (secret "a/b")}}', /syntax is not/], ['{{#each (secret "a/b")}}{{/if}}', /syntax is not/], ['{{secret "a/b}}', /syntax/], ['{{secret "a/b" \0}}', /secret takes a path/],
  ['x'.repeat(64 * 1024 + 1), /longer than 64 KiB/], [' '.repeat(257), /white space/], ['\ud800', /well-formed/],
];

for (const [text, says] of refused) {
  test(`parseTemplateText() refuses ${JSON.stringify(text.slice(0, 70))}`, () => {
    assert.throws(() => parseTemplateText(text, ORIGIN), (error) => isPurserError(error, 'ERR_TEMPLATE_SYNTAX') && says.test(error.message) && error.message.startsWith(`${ORIGIN}: `));
  });
}

test('parseTemplateText() never quotes the template', () => {
  for (const text of ['CANARY {{', 'x {{CANARY}}', '{{secret CANARY}}', '{{#CANARY}}{{/CANARY}}', '{{secret "CANARY"}}', '{{#each (secret "a/b")}}{{/CANARY}}', '{{json "CANARY"}}', '{{> CANARY}}']) {
    assert.throws(() => parseTemplateText(text, ORIGIN), (error) => isPurserError(error) && !`${error.message} ${String(error.hint)}`.includes('CANARY'), text);
  }
});

test('parseTemplateText() names each secret once, as JSON', () => {
  const { secrets } = parseTemplateText('{{secret "secret/db" "a"}}{{secret "secret/db" "b"}}{{#each (secret "secret/db")}}{{secret "secret/db" "a"}}{{/each}}', ORIGIN);
  assert.deepEqual(secrets.map(({ path, field, isJson }) => [path, field, isJson]), [['secret/db', 'a', true], ['secret/db', 'b', true], ['secret/db', undefined, true]]);
});

const unrendered: readonly (readonly [text: string, says: RegExp])[] = [
  ['a\n{{secret "secret/db" "gone"}}', /line 2: secret\/db#gone is null/], ['{{#each (secret "secret/db")}}{{this}}{{/each}}', /this is null/],
  ['{{#each (secret "secret/db" "password")}}{{/each}}', /each needs an object or a list, and secret\/db#password is none/], ['{{#each (secret "secret/one")}}{{#each this}}{{/each}}{{/each}}', /and this is none/],
];

for (const [text, says] of unrendered) {
  test(`renderTemplate() stops at ${JSON.stringify(text)}`, () => {
    assert.throws(() => render(text), (error) => isPurserError(error, 'ERR_TEMPLATE_RENDER') && says.test(error.message) && !/p<&|single/.test(error.message));
  });
}

// Handlebars with the same four helpers, for texts: what it calls an error or leaves empty is ours to refuse.
const reference = Handlebars.create();
reference.registerHelper('secret', (path: string, field: unknown) => valueOf(path, typeof field === 'string' ? field : undefined));
reference.registerHelper('base64', (value: string) => Buffer.from(value).toString('base64'));
reference.registerHelper('json', (value: unknown) => JSON.stringify(value));

test('renderTemplate() gives what Handlebars gives', () => {
  const plain = fc.constantFrom('a', ' ', '\n', '\r\n', '\t', '  ', '\\', '"', '&', '<', 'é', '', '\\\\');
  const value = fc.constantFrom('secret "secret/one" "only"', 'base64 (secret "secret/one" "only")', 'json (secret "secret/db" "map")', 'json (secret "secret/flat")', 'secret "secret/db" "user"');
  const tilde = fc.constantFrom('', '', '~');
  const mustache = fc.tuple(tilde, value, tilde).map(([a, text, b]) => `{{${a}${text}${b}}}`);
  const inner = fc.oneof(plain, mustache, fc.constantFrom('{{this}}', '{{@key}}', '{{~@key}}', '{{json this}}', '{{{this}}}', '{{base64 this}}', '{{! c }}'));
  const each = fc.tuple(tilde, fc.array(inner, { maxLength: 6 }), tilde, tilde).map(([a, body, b, c]) => `{{${a}#each (secret "secret/flat")${b}}}${body.join('')}{{${c}/each}}`);
  fc.assert(fc.property(fc.array(fc.oneof(plain, mustache, each), { maxLength: 12 }), (parts) => {
    const text = parts.join('');
    let ours: string;
    try {
      ours = render(text);
    } catch {
      // A backslash has made text of a tag, and its partner stands alone.
      assert.match(text, /\\/);
      return;
    }
    assert.equal(ours, reference.compile(text, { noEscape: true })({}));
  }), { numRuns: 500 });
});

test('parseTemplateText() is total: any text gives a template or its own error, soon', () => {
  const piece = fc.constantFrom('{{', '}}', '{{{', '}}}', '{{#each ', '{{/each}}', '(secret "a/b")', 'secret', '"', "'", '(', ')', '~', '{{!', '--', '{{>', '{{*', '|', 'as', '@key', 'this', '.', '..', '/', '[', ']', '=', '\\', '\n', ' ', 'x', '1', '{{else}}', '{{^}}', '{{{{', '}}}}', '{{{{/', '\u0000', '\ud800');
  fc.assert(fc.property(fc.array(piece, { maxLength: 40 }), (parts) => {
    try {
      parseTemplateText(parts.join(''), ORIGIN);
    } catch (error) {
      assert.ok(isPurserError(error, 'ERR_TEMPLATE_SYNTAX'), parts.join(''));
    }
  }), { numRuns: 2000 });
});

/** Milliseconds on a busy machine; alone each takes a small part of it. */
const SOON_MS = 20_000;
const FULL = 64 * 1024;
const fill = (unit: string, end = '') => unit.repeat(Math.floor((FULL - end.length) / unit.length)) + end;
const BIG: JsonObject = Object.fromEntries(Array.from({ length: 9_000 }, (_, index) => [`k${String(index)}`, { a: '', b: '' }]));

const hostile: readonly (readonly [name: string, text: string])[] = [
  ['white space that ends nowhere', fill(`${' '.repeat(255)}x`)], ['line ends that end nowhere', `{{secret "a/b"}}${fill(`${'\n'.repeat(255)}x`).slice(0, 60_000)}{{secret "a/b"}}`],
  ['white space between mustaches', fill(`{{!}}${'\n'.repeat(250)}x`)], ['an endless string', `{{secret "${fill('\\"').slice(0, 65_000)}`], ['an endless comment', fill('{{!')], ['an endless comment with dashes', `{{!--${fill('--}').slice(0, 65_000)}`],
  ['an endless segment', `{{[${fill('\\]').slice(0, 65_000)}`], ['blocks without end', fill('{{#each this}}')], ['blocks in blocks', fill('{{#each this}}').slice(0, 14 * 2500) + '{{/each}}'.repeat(2500)],
  ['brackets without end', `{{json ${fill('(').slice(0, 65_000)}`], ['brackets in brackets', `{{${'json ('.repeat(9000)}${')'.repeat(9000)}}}`], ['a path without end', `{{${fill('a/').slice(0, 65_000)}}}`], ['parents without end', `{{${fill('../').slice(0, 65_000)}}}`],
  ['raw blocks', fill('{{{{each this}}}}')], ['escapes', fill('\\{{')], ['double escapes', fill('\\\\{{')], ['else without end', `{{#each this}}${fill('{{else each this}}').slice(0, 60_000)}`], ['mustaches without end', fill('{{')], ['arguments without end', `{{secret ${fill('"a" ').slice(0, 65_000)}}}`],
  ['many secrets', fill('{{secret "a/b"}}')],
];

for (const [name, text] of hostile) {
  test(`parseTemplateText() ends soon with ${name}`, () => {
    const start = performance.now();
    try {
      parseTemplateText(text.slice(0, FULL), ORIGIN);
    } catch (error) {
      assert.ok(isPurserError(error, 'ERR_TEMPLATE_SYNTAX'), String(error));
    }
    assert.ok(performance.now() - start < SOON_MS, `${String(performance.now() - start)} ms`);
  });
}

const loop = (body: string) => `{{#each (secret "a/b")}}${body}{{/each}}`;
const exploding: readonly (readonly [name: string, text: string, value: JsonValue, says: RegExp])[] = [
  ['too many iterations', loop('{{#each this}}{{/each}}'), BIG, new RegExp(`more than ${String(MAX_ITERATIONS)} iterations`)],
  ['the square of a list', loop(loop('')), Object.fromEntries(Array.from({ length: 200 }, (_, index) => [index, ''])), /more than \d+ iterations/],
  ['a long body, many times', loop('{{!}}x{{@key}}'.repeat(4000)), Object.fromEntries(Array.from({ length: 9000 }, (_, index) => [index, ''])), /larger than 1 MiB|steps/],
  ['many steps without output', loop(`{{#each this}}${'{{this}}'.repeat(7000)}{{/each}}`), { a: Array.from({ length: 5000 }, () => '') }, new RegExp(`more than ${String(MAX_STEPS)} steps`)],
  ['a text that doubles', loop(`${'{{json this}}'.repeat(100)}`), { a: 'x'.repeat(500_000) }, /larger than 1 MiB/],
  ['base64 of base64', `{{${'base64 ('.repeat(6)}secret "a/b" "c"${')'.repeat(6)}}}`, 'x'.repeat(900_000), /larger than 1 MiB/],
  ['three bytes a letter', '{{secret "a/b" "c"}}', '€'.repeat(500_000), /larger than 1 MiB/],
];

for (const [name, text, value, says] of exploding) {
  test(`renderTemplate() stops ${name} soon`, () => {
    const template = parseTemplateText(text, ORIGIN);
    const start = performance.now();
    assert.throws(() => renderTemplate(template, template.secrets.map(() => value), ORIGIN), (error) => isPurserError(error, 'ERR_TEMPLATE_RENDER') && says.test(error.message));
    assert.ok(performance.now() - start < SOON_MS, `${String(performance.now() - start)} ms`);
  });
}

test('renderTemplate() takes a field called __proto__ for what it is', () => {
  const template = parseTemplateText(loop('{{@key}}={{json this}} '), ORIGIN);
  const value = JSON.parse('{"__proto__":{"polluted":"yes"},"constructor":"c"}') as JsonValue;
  assert.equal(Buffer.from(renderTemplate(template, [value], ORIGIN)).toString(), '__proto__={"polluted":"yes"} constructor="c" ');
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
});

test('renderTemplate() gives up to 1 MiB, whole', () => {
  const template = parseTemplateText('{{secret "a/b" "c"}}', ORIGIN);
  assert.equal(renderTemplate(template, ['x'.repeat(1024 * 1024)], ORIGIN).length, 1024 * 1024);
});

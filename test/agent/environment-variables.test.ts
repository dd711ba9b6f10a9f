// References in variables: what is found, what it comes to, and every refusal; and what an exec may use of it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { GrantedFile } from '../../src/agent/container-record.ts';
import { MAX_ENVIRONMENT_BYTES, readVariables, referencesOf, renderVariables } from '../../src/agent/environment-variables.ts';
import { execVariables } from '../../src/agent/exec-variables.ts';
import { isPurserError } from '../../src/lib/errors.ts';
import { describeReference, parseReference } from '../../src/wire/reference.ts';

const REF = 'purser://secret/db/prod#password';

function render(env: readonly (readonly [string, string])[], values: Readonly<Record<string, string | Uint8Array | undefined>>): Record<string, string | undefined> {
  const rendered = renderVariables(readVariables(env), ({ reference }) => {
    const value = values[reference.path];
    return value === undefined ? undefined : Buffer.from(value);
  });
  return Object.fromEntries(rendered.map(([name, value]) => [name, value === undefined ? undefined : Buffer.from(value).toString('latin1')]));
}

const cases: readonly (readonly [name: string, text: string, value: string | undefined, expected: string | undefined])[] = [
  ['a whole value', 'purser://s/a#f', 'one', 'one'],
  ['the alias', 'se://s/a/f', 'one', 'one'],
  ['an empty value', 'purser://s/a#f', '', ''],
  ['an optional one that is not there', 'purser://s/a?optional#f', undefined, undefined],
  ['a longer text', 'postgres://app:${purser://s/a#f}@db/app', 'one', 'postgres://app:one@db/app'],
  ['an optional one inside a longer text', 'a${purser://s/a?optional}b', undefined, 'ab'],
  ['several', '${purser://s/a#f}:${se://s/a/f}', 'x', 'x:x'],
  ['an escape', '$${purser://s/a} ${purser://s/a#f}', 'x', '${purser://s/a} x'],
  ['a value that looks like a reference', 'purser://s/a#f', '${purser://s/b}', '${purser://s/b}'],
];
for (const [name, text, value, expected] of cases) {
  test(`renderVariables() gives ${name}`, () => assert.deepEqual(render([['V', text]], { 's/a': value }), { V: expected }));
}

test('readVariables() passes by what has no reference, and the variables that ask for files', () => {
  assert.deepEqual(readVariables([['A', 'b'], ['B', 'see ${HOME} at http://x'], ['C_FILE', REF], ['D', ''], ['E', '$${other}']]), []);
  assert.deepEqual(readVariables([['C_FILE', `/x/\${${REF}}`]]).map(({ name }) => name), ['C_FILE'], 'a longer text is no request for a file');
});

test('referencesOf() names a reference once per variable, and twice with two defaults', () => {
  const variables = readVariables([['A', `\${${REF}}\${${REF}}`], ['B', REF], ['C', '${purser://s/a?default=x}${purser://s/a?default=y}']]);
  assert.deepEqual(referencesOf(variables).map(({ variable }) => variable), ['A', 'B', 'C', 'C']);
});

test('renderVariables() refuses a NUL byte and more than fits, naming variable, size and limit, never a value', () => {
  assert.throws(() => render([['OK', 'purser://s/a'], ['BAD', 'purser://s/b']], { 's/a': 'x', 's/b': 'hunter2\0' }),
    (error) => isPurserError(error, 'ERR_WORKLOAD_INVALID') && /^variable BAD: the value has a NUL byte/.test(error.message) && /BAD_FILE/.test(error.hint ?? '') && !/hunter2/.test(error.message + String(error.hint)));
  const most = MAX_ENVIRONMENT_BYTES - 'V'.length - 2;
  assert.equal(render([['V', 'purser://s/a']], { 's/a': 'x'.repeat(most) })['V']?.length, most);
  assert.throws(() => render([['V', 'purser://s/a']], { 's/a': 'x'.repeat(most + 1) }), /come to 98305 bytes, the limit is 98304/);
});

test('renderVariables() keeps any bytes but NUL', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
    if (bytes.includes(0)) return;
    assert.equal(render([['V', 'purser://s/a?encoding=base64']], { 's/a': bytes })['V'], Buffer.from(bytes).toString('latin1'));
  }));
});

function granted(variable: string, text: string, part: Partial<GrantedFile> = {}): GrantedFile {
  return { name: '$0', kind: 'hidden', target: `env:${variable}`, source: { type: 'reference', text: describeReference(parseReference(text)) }, variable, path: 'secret/db/prod', version: 1, isPinned: false, ...part };
}

test('execVariables() tells values from edits', () => {
  const { edits, variables } = execVariables([['PATH', '/bin'], ['PW', 'purser://secret/x?default=hunter2#y'], ['F_FILE', REF], ['ONLY', REF], ['NONE_FILE', 'purser://secret/n?optional'], ['ESC', 'a$${purser://b']], [
    granted('PW', 'purser://secret/x#y'), granted('F_FILE', REF, { kind: 'versioned', target: '/run/secrets/F' }),
    granted('ONLY_FILE', REF, { kind: 'versioned', target: '/run/secrets/ONLY', replaces: 'ONLY' }), granted('NONE_FILE', 'purser://secret/n?optional', { kind: 'absent', target: '/run/secrets/NONE' }),
  ]);
  assert.deepEqual([...edits], [['F_FILE', '/run/secrets/F'], ['NONE_FILE', ''], ['ONLY', undefined], ['ONLY_FILE', '/run/secrets/ONLY'], ['ESC', 'a${purser://b']]);
  assert.deepEqual(variables.map(({ name }) => name), ['PW']);
});

for (const [name, env] of [
  ['another variable', ['NEW', REF]], ['another reference', ['PW', 'purser://secret/other']], ['another reference inside a longer text', ['PW', `\${${REF}}\${purser://secret/other}`]],
  ['a file', ['PW_FILE', REF]], ['another encoding', ['PW', 'purser://secret/db/prod?encoding=hex#password']], ['another version', ['PW', 'purser://secret/db/prod?version=1#password']],
  ['a longer text for a file', ['ONLY', `x\${${REF}}`]],
] as const) {
  test(`execVariables() refuses ${name} that the container did not declare`, () => {
    const files = [granted('PW', REF), granted('ONLY_FILE', REF, { target: '/run/secrets/ONLY', replaces: 'ONLY' })];
    assert.throws(() => execVariables([env], files), (error) => isPurserError(error, 'ERR_WORKLOAD_INVALID') && error.message.includes(`variable ${env[0]}: only references that the container declared at its start`));
  });
}

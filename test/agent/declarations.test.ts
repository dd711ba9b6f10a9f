// The declarations table: what labels and variables ask for, and every refusal with the label it names.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readDeclarations } from '../../src/agent/declarations.ts';
import type { ContainerSpec } from '../../src/agent/declarations.ts';
import { isPurserError } from '../../src/lib/errors.ts';

const REF = 'purser://secret/db/prod#password';

function spec(part: Partial<ContainerSpec>): ContainerSpec {
  return { labels: {}, env: [], uid: 0, gid: 0, mountTargets: ['/proc', '/dev', '/etc/hosts'], environment: 'values', ...part };
}

const accepted: readonly { name: string; given: Partial<ContainerSpec>; files: readonly Record<string, unknown>[] }[] = [
  { name: 'nothing declared', given: { labels: { team: 'a', 'com.docker.compose.project': 'purser' }, env: [['PATH', '/bin'], ['NOTE', 'see ${HOME}']] }, files: [] },
  { name: 'a label', given: { labels: { 'purser.file.db': REF } }, files: [{ name: 'db', target: '/run/secrets/db', uid: 0, gid: 0, mode: 0o400 }] },
  { name: 'the container\'s user as owner', given: { labels: { 'purser.file.db': REF }, uid: 1000, gid: 50 }, files: [{ uid: 1000, gid: 50, mode: 0o400 }] },
  {
    name: 'all options', given: { labels: { 'purser.file.db': REF, 'purser.file.db.path': '/etc/app/pass', 'purser.file.db.uid': '7', 'purser.file.db.gid': '8', 'purser.file.db.mode': '0440' }, uid: 1, gid: 2 },
    files: [{ target: '/etc/app/pass', uid: 7, gid: 8, mode: 0o440 }],
  },
  { name: 'uid 0 over a user', given: { labels: { 'purser.file.db': REF, 'purser.file.db.uid': '0' }, uid: 5, gid: 6 }, files: [{ uid: 0, gid: 6 }] },
  { name: 'a path in /run/secrets', given: { labels: { 'purser.file.db': REF, 'purser.file.db.path': '/run/secrets/other' } }, files: [{ name: 'db', target: '/run/secrets/other' }] },
  { name: 'a name with dots', given: { labels: { 'purser.file.tls.crt': REF } }, files: [{ name: 'tls.crt', target: '/run/secrets/tls.crt' }] },
  { name: 'a variable', given: { env: [['POSTGRES_PASSWORD_FILE', REF]], uid: 999, gid: 999 }, files: [{ name: 'POSTGRES_PASSWORD', target: '/run/secrets/POSTGRES_PASSWORD', variable: 'POSTGRES_PASSWORD_FILE', uid: 999, gid: 999 }] },
  { name: 'the se:// alias', given: { env: [['X_FILE', 'se://secret/db/prod/password']] }, files: [{ target: '/run/secrets/X' }] },
  { name: 'an escaped template', given: { env: [['X', 'a $${purser://secret/a#b} c']] }, files: [] },
  { name: 'other mounts beside it', given: { labels: { 'purser.file.db': REF }, mountTargets: ['/run/secrets/other', '/run', '/var/lib/x'] }, files: [{ target: '/run/secrets/db' }] },
  { name: 'a file elsewhere with /run/secrets mounted', given: { labels: { 'purser.file.db': REF, 'purser.file.db.path': '/srv/db' }, mountTargets: ['/run/secrets'] }, files: [{ target: '/srv/db' }] },
];

for (const { name, given, files } of accepted) {
  test(`readDeclarations() accepts ${name}`, () => {
    const found = readDeclarations(spec(given)).files;
    assert.equal(found.length, files.length);
    found.forEach((file, index) => assert.deepEqual({ ...file, ...files[index] }, { ...file }));
  });
}

const ONLY = { 'purser.env': 'files-only' };
const DB = { 'purser.file.db': REF };
const refused: readonly { name: string; given: Partial<ContainerSpec>; says: RegExp; code?: string }[] = [
  { name: 'an identity without an audience', given: { labels: { 'purser.identity': '' } }, says: /label purser\.identity: an audience is empty/ },
  { name: 'an identity with an empty audience', given: { labels: { 'purser.identity': 'a,,b' } }, says: /an audience is empty/ },
  { name: 'an audience with a space', given: { labels: { 'purser.identity': 'a b' } }, says: /a space/ },
  { name: 'an audience twice', given: { labels: { 'purser.identity': 'a,a' } }, says: /there twice/ },
  { name: 'too many audiences', given: { labels: { 'purser.identity': 'a,b,c,d,e,f,g,h,i' } }, says: /more than 8 audiences/ },
  { name: 'a file in the place of the identity', given: { labels: { 'purser.identity': 'a', 'purser.file.identity.jwt': REF } }, says: /identity\.jwt is also the target of label purser\.file\.identity\.jwt/ },
  { name: 'a mount over the identity', given: { labels: { 'purser.identity': 'a' }, mountTargets: ['/run/secrets'] }, says: /a mount of its own at \/run\/secrets/ },
  { name: 'an unknown label', given: { labels: { 'purser.flie.db': REF } }, says: /label purser\.flie\.db: there is no such label/ },
  { name: 'an option without its file', given: { labels: { 'purser.file.db.mode': '0400' } }, says: /label purser\.file\.db\.mode: there is no label purser\.file\.db/ },
  ...['purser.env.X'].map((label) => ({ name: `the later label ${label}`, given: { labels: { [label]: 'x' } }, says: new RegExp(`label ${label.replaceAll('.', '\\.')}: not supported by this version`) })),
  ...['path', 'uid', 'gid', 'mode'].map((option) => ({ name: `a template's .${option} without it`, given: { labels: { [`purser.template.conf.${option}`]: '7' } }, says: /there is no label purser\.template\.conf/ })),
  { name: 'a template that is none', given: { labels: { 'purser.template.conf': '{{#if x}}{{/if}}' } }, says: /label purser\.template\.conf: line 1: the only block/, code: 'ERR_TEMPLATE_SYNTAX' },
  { name: 'a template with a bad reference', given: { labels: { 'purser.template.conf': 'purser://x' } }, says: /label purser\.template\.conf: /, code: 'ERR_REFERENCE_SYNTAX' },
  { name: 'a template and a file on one target', given: { labels: { ...DB, 'purser.template.db': 'x' } }, says: /label purser\.template\.db: \/run\/secrets\/db is also the target of label purser\.file\.db/ },
  { name: 'a template with a bad mode', given: { labels: { 'purser.template.conf': 'x', 'purser.template.conf.mode': 'rw' } }, says: /label purser\.template\.conf\.mode: the value is not an octal mode/ },
  { name: 'a template with 257 secrets', given: { labels: { 'purser.template.conf': Array.from({ length: 257 }, (_, index) => `{{secret "secret/db" "f${String(index)}"}}`).join('') } }, says: /257 references are declared, the limit is 256/ },
  { name: 'a signal that does not exist', given: { labels: { ...DB, 'purser.on-rotate': 'signal:NOPE' } }, says: /label purser\.on-rotate: there is no signal of this name/ },
  { name: 'a plain value in a label', given: { labels: { 'purser.file.db': 'hunter2' } }, says: /label purser\.file\.db: the value is not a reference/ },
  { name: 'a malformed reference', given: { labels: { 'purser.file.db': 'purser://' } }, says: /label purser\.file\.db: /, code: 'ERR_REFERENCE_SYNTAX' },
  { name: 'a reference in PATH', given: { env: [['PATH', `/bin:\${${REF}}`]] }, says: /variable PATH: it cannot have a reference: the runtime looks for the command/ },
  { name: 'a mode that does not exist', given: { labels: { 'purser.env': 'files' } }, says: /label purser\.env: there is no such mode/ },
  { name: 'a longer value with options for a file', given: { labels: ONLY, env: [['URL', `x\${${REF}?version=2}y`.replace('#password?version=2', '?version=2#password')]] }, says: /variable URL: a reference with options, or beside \{\{, inside a longer value cannot become a file/ },
  { name: 'a file whose variable is taken', given: { labels: ONLY, env: [['PW', REF], ['PW_FILE', '/own']] }, says: /variable PW: the variable PW_FILE, which would name its file, is taken/ },
  { name: '200 files and 57 variables', given: { labels: Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`purser.file.f${index}`, REF])), env: Array.from({ length: 57 }, (_, index) => [`V${index}`, REF] as const) }, says: /257 references are declared, the limit is 256/ },
  { name: 'a variable called _FILE', given: { env: [['_FILE', REF]] }, says: /variable _FILE: the file name is not valid/ },
  ...['', '.hidden', '..', 'a/b', 'a b', 'é', 'x'.repeat(129), '-dash'].map((name) => ({ name: `the file name "${name.slice(0, 12)}"`, given: { labels: { [`purser.file.${name}`]: REF } }, says: /the file name is not valid/ })),
  ...['relative', '/', '/a/../b', '/a//b', '/a/', '/a/./b', '/a\nb', `/${'x'.repeat(256)}`].map((path) => ({ name: `the path ${JSON.stringify(path.slice(0, 12))}`, given: { labels: { ...DB, 'purser.file.db.path': path } }, says: /label purser\.file\.db\.path: the path is not absolute and normalised/ })),
  ...['/proc/1/x', '/sys/x', '/dev/x', '/dev'].map((path) => ({ name: `the path ${path}`, given: { labels: { ...DB, 'purser.file.db.path': path } }, says: /cannot be placed in/ })),
  ...['/run/secrets', '/run/secrets/a/b', '/var/run/secrets/a/b', '/run/secrets/.x'].map((path) => ({ name: `the path ${path}`, given: { labels: { ...DB, 'purser.file.db.path': path } }, says: /label purser\.file\.db\.path: / })),
  ...['root', '-1', '1.5', '4294967295', '01', ' 1', '0x1'].flatMap((id) => ['uid', 'gid'].map((which) => ({ name: `${which} ${id}`, given: { labels: { ...DB, [`purser.file.db.${which}`]: id } }, says: new RegExp(`label purser\\.file\\.db\\.${which}: the value is not a numeric id`) }))),
  ...['4000', '0o400', '999', '40', 'rw', '04000', ''].map((mode) => ({ name: `mode "${mode}"`, given: { labels: { ...DB, 'purser.file.db.mode': mode } }, says: /label purser\.file\.db\.mode: the value is not an octal mode/ })),
  { name: 'two files on one target', given: { labels: { 'purser.file.a': REF, 'purser.file.b': REF, 'purser.file.b.path': '/run/secrets/a' } }, says: /label purser\.file\.b: \/run\/secrets\/a is also the target of label purser\.file\.a/ },
  { name: 'a label and a variable on one target', given: { labels: { 'purser.file.X': REF }, env: [['X_FILE', REF]] }, says: /variable X_FILE: .* is also the target of label purser\.file\.X/ },
  { name: 'a target that is reached by /var/run too', given: { labels: { 'purser.file.a': REF, 'purser.file.b': REF, 'purser.file.b.path': '/var/run/secrets/a' } }, says: /is also the target/ },
  { name: 'a file below a file', given: { labels: { 'purser.file.a': REF, 'purser.file.a.path': '/srv/x', 'purser.file.b': REF, 'purser.file.b.path': '/srv/x/y' } }, says: /lies below the file \/srv\/x/ },
  { name: 'a mount at /run/secrets', given: { labels: DB, mountTargets: ['/run/secrets'] }, says: /label purser\.file\.db: the container has a mount of its own at \/run\/secrets/ },
  { name: 'a mount at /var/run/secrets', given: { labels: DB, mountTargets: ['/var/run/secrets/'] }, says: /mount of its own at \/run\/secrets/ },
  { name: 'a mount on the target', given: { labels: DB, mountTargets: ['/run/secrets/db'] }, says: /mount of its own at \/run\/secrets\/db/ },
  { name: 'a mount deep below /run/secrets', given: { labels: DB, mountTargets: ['/run/secrets/a/b'] }, says: /mount of its own at \/run\/secrets\/a\/b/ },
  { name: 'one of Docker\'s own files as target', given: { labels: { ...DB, 'purser.file.db.path': '/etc/hosts' } }, says: /mount of its own at \/etc\/hosts/ },
  { name: '257 files', given: { labels: Object.fromEntries(Array.from({ length: 257 }, (_, index) => [`purser.file.f${index}`, REF])) }, says: /257 references are declared, the limit is 256/ },
];

for (const { name, given, says, code = 'ERR_WORKLOAD_INVALID' } of refused) {
  test(`readDeclarations() refuses ${name}`, () => {
    assert.throws(() => readDeclarations(spec(given)), (error) => isPurserError(error) && error.code === code && says.test(error.message) && error.message === error.message.trim());
  });
}

test('readDeclarations() never quotes a value that is not a reference, nor a default', () => {
  for (const given of [{ labels: { 'purser.file.db': 'hunter2' } }, { labels: { 'purser.file.db': 'purser://secret/x?default=hunter2&nope' } }, { env: [['A', 'x${purser://secret/x?default=hunter2&nope#y}']] as [string, string][] }]) {
    assert.throws(() => readDeclarations(spec(given)), (error: Error) => !error.message.includes('hunter2') && !String((error as { hint?: string }).hint).includes('hunter2'));
  }
});

test('readDeclarations() answers any labels and variables with files or a PurserError', () => {
  const label = fc.oneof(fc.string(), fc.string().map((text) => `purser.${text}`), fc.string().map((text) => `purser.file.${text}`));
  const value = fc.oneof(fc.string(), fc.string().map((text) => `purser://${text}`), fc.string().map((text) => `\${purser://${text}`), fc.constant(REF));
  fc.assert(fc.property(fc.dictionary(label, value, { maxKeys: 6 }), fc.array(fc.tuple(fc.string(), value), { maxLength: 4 }), (labels, env) => {
    try {
      for (const file of readDeclarations(spec({ labels, env })).files) assert.match(file.target, /^\/[^\0]+$/);
    } catch (error) {
      assert.ok(isPurserError(error), String(error));
    }
  }), { numRuns: 2000 });
});

test('readDeclarations() leaves references in variables to the environment', () => {
  const { files, variables } = readDeclarations(spec({ env: [['PATH', '/bin'], ['PW', REF], ['URL', `x\${${REF}}`], ['PW2_FILE', REF], ['ESCAPED', '$${purser://a']] }));
  assert.deepEqual(files.map(({ variable }) => variable), ['PW2_FILE']);
  assert.deepEqual(variables.map(({ name }) => name), ['PW', 'URL', 'ESCAPED']);
});

test('readDeclarations() makes files of variables for files-only, by label or by default, and the label wins', () => {
  const env = [['PW', `${REF}`], ['OTHER_FILE', REF], ['ESCAPED', '$${purser://a']] as const;
  for (const given of [{ labels: ONLY }, { environment: 'files-only' as const }]) {
    const { files, variables } = readDeclarations(spec({ ...given, env, uid: 7, gid: 8 }));
    assert.deepEqual(files.map(({ target, variable, replaces, uid, gid, mode }) => [target, variable, replaces, uid, gid, mode]),
      [['/run/secrets/OTHER', 'OTHER_FILE', undefined, 7, 8, 0o400], ['/run/secrets/PW', 'PW_FILE', 'PW', 7, 8, 0o400]]);
    assert.deepEqual(variables.map(({ name }) => name), ['ESCAPED']);
  }
  assert.equal(readDeclarations(spec({ labels: { 'purser.env': 'values' }, environment: 'files-only', env })).variables.length, 2);
});

test('readDeclarations() reads templates with their options, from the label or from the core', () => {
  const { templates, files } = readDeclarations(spec({ uid: 5, gid: 6, labels: { 'purser.template.conf': '{{secret "secret/db" "a"}}', 'purser.template.other': 'purser://secret/t#text', 'purser.template.other.path': '/etc/x', 'purser.template.other.mode': '0440', 'purser.template.other.uid': '7' } }));
  assert.deepEqual(files, []);
  assert.deepEqual(templates.map(({ name, target, uid, gid, mode, origin }) => [name, target, uid, gid, mode, origin]), [
    ['conf', '/run/secrets/conf', 5, 6, 0o400, 'label purser.template.conf'], ['other', '/etc/x', 7, 6, 0o440, 'label purser.template.other'],
  ]);
  assert.deepEqual(templates.map(({ source }) => 'reference' in source ? source.reference.path : source.text), ['{{secret "secret/db" "a"}}', 'secret/t']);
});

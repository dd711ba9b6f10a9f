// The declarations table: what labels and variables ask for, and every refusal with the label it names.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { execVariables, readDeclarations } from '../../src/agent/declarations.ts';
import type { ContainerSpec } from '../../src/agent/declarations.ts';
import { isPurserError } from '../../src/lib/errors.ts';

const REF = 'purser://secret/db/prod#password';

function spec(part: Partial<ContainerSpec>): ContainerSpec {
  return { labels: {}, env: [], uid: 0, gid: 0, mountTargets: ['/proc', '/dev', '/etc/hosts'], ...part };
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
    const found = readDeclarations(spec(given));
    assert.equal(found.length, files.length);
    found.forEach((file, index) => assert.deepEqual({ ...file, ...files[index] }, { ...file }));
  });
}

const DB = { 'purser.file.db': REF };
const refused: readonly { name: string; given: Partial<ContainerSpec>; says: RegExp; code?: string }[] = [
  { name: 'an unknown label', given: { labels: { 'purser.flie.db': REF } }, says: /label purser\.flie\.db: there is no such label/ },
  { name: 'an option without its file', given: { labels: { 'purser.file.db.mode': '0400' } }, says: /label purser\.file\.db\.mode: there is no label purser\.file\.db/ },
  ...['purser.template.conf', 'purser.on-rotate', 'purser.env', 'purser.env.X', 'purser.identity'].map((label) => ({ name: `the later label ${label}`, given: { labels: { [label]: 'x' } }, says: new RegExp(`label ${label.replaceAll('.', '\\.')}: not supported by this version`) })),
  { name: 'a plain value in a label', given: { labels: { 'purser.file.db': 'hunter2' } }, says: /label purser\.file\.db: the value is not a reference/ },
  { name: 'a malformed reference', given: { labels: { 'purser.file.db': 'purser://' } }, says: /label purser\.file\.db: /, code: 'ERR_REFERENCE_SYNTAX' },
  { name: 'a reference as a variable\'s value', given: { env: [['PASSWORD', REF]] }, says: /variable PASSWORD: a reference as the value .*not supported/ },
  { name: 'a reference inside a longer value', given: { env: [['URL', `postgres://app:\${${REF}}@db`]] }, says: /variable URL: a reference inside a longer value/ },
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
  for (const given of [{ labels: { 'purser.file.db': 'hunter2' } }, { labels: { 'purser.file.db': 'purser://secret/x?default=hunter2&nope' } }, { env: [['A', 'x${purser://secret/x?default=hunter2#y}']] as [string, string][] }]) {
    assert.throws(() => readDeclarations(spec(given)), (error: Error) => !error.message.includes('hunter2') && !String((error as { hint?: string }).hint).includes('hunter2'));
  }
});

test('readDeclarations() answers any labels and variables with files or a PurserError', () => {
  const label = fc.oneof(fc.string(), fc.string().map((text) => `purser.${text}`), fc.string().map((text) => `purser.file.${text}`));
  const value = fc.oneof(fc.string(), fc.string().map((text) => `purser://${text}`), fc.string().map((text) => `\${purser://${text}`), fc.constant(REF));
  fc.assert(fc.property(fc.dictionary(label, value, { maxKeys: 6 }), fc.array(fc.tuple(fc.string(), value), { maxLength: 4 }), (labels, env) => {
    try {
      for (const file of readDeclarations(spec({ labels, env }))) assert.match(file.target, /^\/[^\0]+$/);
    } catch (error) {
      assert.ok(isPurserError(error), String(error));
    }
  }), { numRuns: 2000 });
});

test('execVariables() rewrites what the container declared and leaves the rest', () => {
  const found = execVariables([['PATH', '/bin'], ['DB_FILE', REF]], (variable, reference) => variable === 'DB_FILE' && reference.path === 'secret/db/prod' ? '/run/secrets/DB' : undefined);
  assert.deepEqual([...found], [['DB_FILE', '/run/secrets/DB']]);
});

test('execVariables() refuses a reference that the container did not declare, and one inside a value', () => {
  assert.throws(() => execVariables([['NEW_FILE', REF]], () => undefined), /variable NEW_FILE: only references that the container declared/);
  assert.throws(() => execVariables([['NEW', REF]], () => undefined), /variable NEW: only references/);
  assert.throws(() => execVariables([['URL', `x\${${REF}}`]], () => '/x'), /inside a longer value/);
});

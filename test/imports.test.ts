import test from 'node:test';
import assert from 'node:assert/strict';
import ts from 'typescript';
import { importsOf, lineOf, nodesOf, sourceFile, sourceFiles } from './source-tree.ts';
import type { SourceFile } from './source-tree.ts';

interface Layer { readonly mayImport: readonly string[]; readonly because: string; readonly typesOnly?: true }

const CONTRACTS = ['core/view.ts', 'core/folders.ts', 'core/due-queue.ts', 'core/logical.ts'];
const BEHIND_THE_VIEW = [...CONTRACTS, 'policy/', 'crypto/', 'wire/', 'lib/'];
const NO_KEYS = 'code that cannot import the keyring cannot leak it: agent, driver and cli see client, wire and lib only';
const VIEW_ONLY = 'engines, auth methods, audit, leases and the ledger see the view and the logical interface: never the barrier, a store, or each other';

/** Top-level folder of src/ → what it may import besides itself, and why nothing else. */
const LAYERS: Readonly<Record<string, Layer>> = {
  lib: { mayImport: [], because: 'lib holds leaves: everything imports it, it imports nothing' },
  wire: { mayImport: ['lib/'], because: 'contracts between processes must not depend on any of the processes' },
  crypto: { mayImport: ['lib/'], because: 'crypto knows no path and no domain word' },
  storage: { mayImport: ['lib/'], because: 'storage sees ciphertext only' },
  policy: { mayImport: ['lib/'], because: 'policies are parsed and evaluated purely' },
  core: { mayImport: ['crypto/', 'lib/', 'storage/storage.ts'], because: 'the core knows the storage interface, not a driver, and nothing above it' },
  auth: { mayImport: [...BEHIND_THE_VIEW, 'auth/method/', 'auth/token/policy-names.ts'], because: VIEW_ONLY },
  engines: { mayImport: BEHIND_THE_VIEW, because: VIEW_ONLY },
  leases: { mayImport: BEHIND_THE_VIEW, because: VIEW_ONLY },
  audit: { mayImport: BEHIND_THE_VIEW, because: VIEW_ONLY },
  ledger: { mayImport: BEHIND_THE_VIEW, because: VIEW_ONLY },
  server: { mayImport: ['auth/', 'engines/', 'leases/', 'audit/', 'ledger/', 'core/', 'storage/', ...BEHIND_THE_VIEW], because: 'the server composes the core; clients of it live on other machines' },
  client: { mayImport: ['wire/', 'lib/'], because: NO_KEYS },
  agent: { mayImport: ['client/', 'wire/', 'lib/'], because: NO_KEYS },
  driver: { mayImport: ['client/', 'wire/', 'lib/'], because: NO_KEYS },
  cli: { mayImport: ['client/', 'wire/', 'policy/', 'lib/', 'audit/verify-files.ts'], because: `${NO_KEYS}; policies are texts without keys, which it checks and lays out, and the proof of an audit file knows no key but the one it is given` },
  web: { mayImport: ['wire/'], because: 'the page knows the wire types and nothing of the server', typesOnly: true },
};
/** Folders whose sub-folders are strangers to each other. */
const SEPARATED = ['auth', 'engines'];
const PROGRAMS = ['server', 'agent', 'driver', 'cli'];

/** Third-party package → where it may be imported, and why only there. A package that is missing here may be imported nowhere. */
const PACKAGES: Readonly<Record<string, { readonly where: readonly string[]; readonly because: string }>> = {
  'lmdb': { where: ['storage/lmdb.ts'], because: 'one driver, one file' },
  'pg': { where: ['storage/postgres.ts', 'engines/database/'], because: 'one driver, one file' },
  'dockerode': { where: ['agent/docker.ts', 'agent/keeper/engine.ts', 'agent/keeper/hosted.ts'], because: 'Docker is reached through one file for each program, none of which calls inspect' },
  'commander': { where: ['cli/'], because: 'only the command line parses a command line' },
  'express': { where: ['driver/', 'server/web/', 'agent/volume/'], because: 'Express is for the page and the plugin sockets, never for the hot path' },
  'handlebars': { where: ['agent/template-tree.ts'], because: 'only the parser of templates needs it; nothing else may compile text' },
  'jose': { where: ['auth/', 'client/node/session.ts'], because: 'tokens are signed and verified in few places' },
  '@noble/ciphers': { where: ['crypto/'], because: 'primitives stay behind the crypto boundary' },
  '@noble/hashes': { where: ['crypto/'], because: 'primitives stay behind the crypto boundary' },
  'shamir-secret-sharing': { where: ['crypto/'], because: 'primitives stay behind the crypto boundary' },
  '@peculiar/x509': { where: ['server/tls/', 'engines/pki/'], because: 'certificates are made where they are served or issued' },
  'reflect-metadata': { where: ['server/tls/', 'engines/pki/'], because: 'only @peculiar/x509 needs it' },
  'preact': { where: ['web/'], because: 'only the page has something to render' },
  'prom-client': { where: ['lib/metrics.ts'], because: 'programs count in their own numbers; one file writes them for Prometheus' },
  'pino': { where: ['lib/log.ts', 'server/', 'agent/', 'driver/', 'audit/'], because: 'commands print, services log' },
  'zod': { where: ['lib/json-record.ts', 'wire/', 'server/', 'auth/', 'engines/', 'ledger/', 'audit/', 'leases/', 'client/', 'agent/', 'driver/', 'cli/'], because: 'input is validated at the edges; crypto, storage, core and policy get it validated or parse it themselves' },
};

/** Global → files that may touch it, and why. */
const GLOBALS: Readonly<Record<string, { readonly where: readonly string[]; readonly because: string }>> = {
  'console': { where: ['cli/output.ts', 'main.ts'], because: 'cli/output.ts is the only file that prints; services log with pino' },
  'process.stdout': { where: ['cli/output.ts', 'main.ts'], because: 'cli/output.ts is the only file that prints; services log with pino' },
  'process.stderr': { where: ['cli/output.ts', 'main.ts', 'cli/secret-input.ts', 'server/main.ts'], because: 'cli/output.ts prints; apart from it there are only the prompt for a secret and the banner of --dev' },
};

const startsWithAny = (path: string, prefixes: readonly string[]) => prefixes.some((prefix) => path === prefix || (prefix.endsWith('/') && path.startsWith(prefix)));
const packageOf = (specifier: string) => specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/');

/** `engines/kv/` for a file in a separated folder, else its top-level folder. */
function unitOf(path: string): string {
  const [top = '', sub = ''] = path.split('/');
  return SEPARATED.includes(top) && path.split('/').length > 2 ? `${top}/${sub}/` : `${top}/`;
}

function edgeViolations(file: SourceFile): string[] {
  const layer = LAYERS[file.path.split('/')[0] as string];
  return importsOf(file).flatMap(({ target, isFile, kind, line }) => {
    const refuse = (because: string) => [`${file.path}:${line} must not import ${target ?? 'something that is not a literal'}: ${because}`];
    if (target === undefined) return refuse('nobody can tell what it loads');
    if (!isFile) return packageViolations(file.path, target).flatMap(refuse);
    if (target.startsWith('..')) return refuse('sources do not reach out of src/');
    if (!/\.tsx?$/.test(target)) return refuse('imports end in .ts');
    if (file.path === 'main.ts') return kind === 'static' ? refuse('main.ts loads one program, and only when it is asked for') : [];
    if (layer === undefined) return refuse('its folder has no rule; say in this test what it may import');
    if (target.startsWith(unitOf(file.path))) return [];
    if (!startsWithAny(target, layer.mayImport)) return refuse(layer.because);
    return layer.typesOnly === true && kind !== 'type' ? refuse(layer.because) : [];
  });
}

function packageViolations(path: string, specifier: string): string[] {
  if (specifier === 'node:process' || specifier === 'node:console') return ['process and console are used as globals, where this test sees them'];
  if (specifier.startsWith('node:')) return [];
  const rule = PACKAGES[packageOf(specifier)];
  if (rule === undefined) return ['the package is not in the list (Node built-ins are imported as node:…)'];
  return startsWithAny(path, rule.where) ? [] : [rule.because];
}

/** `process.env`, `process['env']` and `const { env } = process` alike; `console` by its bare name. */
function* globalsOf(file: SourceFile): Generator<{ readonly name: string; readonly line: number }> {
  const isProcess = (node: ts.Node | undefined) => node !== undefined && ts.isIdentifier(node) && node.text === 'process';
  for (const node of nodesOf(file.tree)) {
    const line = lineOf(file, node);
    if (ts.isPropertyAccessExpression(node) && isProcess(node.expression)) yield { name: `process.${node.name.text}`, line };
    if (ts.isElementAccessExpression(node) && isProcess(node.expression)) yield { name: ts.isStringLiteralLike(node.argumentExpression) ? `process.${node.argumentExpression.text}` : 'process[…]', line };
    if (ts.isVariableDeclaration(node) && isProcess(node.initializer) && ts.isObjectBindingPattern(node.name)) {
      for (const element of node.name.elements) yield { name: `process.${(element.propertyName ?? element.name).getText(file.tree)}`, line };
    }
    if (ts.isPropertyAccessExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === 'console') yield { name: 'console', line };
  }
}

function globalViolations(files: readonly SourceFile[]): string[] {
  const readers = new Map<string, Set<string>>();
  const violations: string[] = [];
  for (const file of files) {
    for (const { name, line } of globalsOf(file)) {
      const rule = GLOBALS[name];
      if (rule !== undefined && !rule.where.includes(file.path)) violations.push(`${file.path}:${line} must not use ${name}: ${rule.because}`);
      if (name === 'process[…]') violations.push(`${file.path}:${line} must not index process: nobody can tell what it reads`);
      if (name !== 'process.env') continue;
      const program = file.path.split('/')[0] as string;
      readers.set(program, (readers.get(program) ?? new Set()).add(file.path));
    }
  }
  for (const [program, paths] of readers) {
    if (!PROGRAMS.includes(program)) violations.push(`${[...paths].join(', ')} must not read process.env: only a program does, and hands on a validated config`);
    else if (paths.size > 1) violations.push(`${[...paths].join(', ')} read process.env: one file per program does`);
  }
  return violations;
}

/** Each cycle once, as `a.ts → b.ts → a.ts`. */
function cyclesOf(files: readonly SourceFile[]): string[] {
  const edges = new Map(files.map((file) => [file.path, importsOf(file).flatMap(({ target, isFile }) => isFile && target !== undefined ? [target] : [])]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(' → '));
    else if (!done.has(path)) {
      for (const target of edges.get(path) ?? []) visit(target, [...trail, path]);
      done.add(path);
    }
  };
  for (const path of edges.keys()) visit(path, []);
  return cycles;
}

const FILES = sourceFiles();

test('src/ imports only along the arrows of STYLE.md section 2', () => {
  assert.ok(FILES.length > 20);
  assert.deepEqual(FILES.flatMap(edgeViolations), []);
});

test('src/ has no cycle between files, type-only imports included', () => {
  assert.deepEqual(cyclesOf(FILES), []);
});

test('src/ prints and reads the environment only where that is the job', () => {
  assert.deepEqual(globalViolations(FILES), []);
});

const EDGES: readonly (readonly [string, string, boolean])[] = [
  ['agent/a.ts', "import { Keyring } from '../core/keyring.ts';", false],
  ['agent/a.ts', "import type { View } from '../core/view.ts';", false],
  ['cli/commands/a.ts', "export { x } from '../../server/x.ts';", false],
  ['driver/a.ts', "type X = import('../storage/storage.ts').Storage;", false],
  ['agent/a.ts', "await import('../engines/kv/kv.ts');", false],
  ['agent/a.ts', "const x = require('../core/seal.ts');", false],
  ['agent/a.ts', 'await import(name);', false],
  ['agent/a.ts', "import { a } from '../client/a.ts'; import { b } from '../wire/b.ts'; import { c } from '../lib/c.ts'; import { d } from './fuse/d.ts';", true],
  ['engines/kv/a.ts', "import { a } from '../transit/a.ts';", false],
  ['engines/kv/a.ts', "import { a } from '../../core/barrier.ts';", false],
  ['engines/kv/a.ts', "import { a } from './b.ts'; import type { View } from '../../core/view.ts';", true],
  ['auth/node/a.ts', "import { a } from '../token/a.ts';", false],
  ['auth/userpass/a.ts', "import { a } from '../approle/a.ts';", false],
  ['auth/userpass/a.ts', "import { a } from '../method/a.ts';", true],
  ['core/a.ts', "import { a } from '../storage/lmdb.ts';", false],
  ['core/a.ts', "import type { a } from '../storage/storage.ts';", true],
  ['lib/a.ts', "import { a } from '../wire/a.ts';", false],
  ['lib/a.ts', "import { a } from '../../test/a.ts';", false],
  ['lib/a.ts', "import { a } from './b.js';", false],
  ['lib/a.ts', "import fs from 'fs';", false],
  ['lib/a.ts', "import fs from 'node:fs';", true],
  ['lib/a.ts', "import { env } from 'node:process';", false],
  ['lib/a.ts', "import x from 'left-pad';", false],
  ['storage/memory.ts', "import type { Database } from 'lmdb';", false],
  ['storage/lmdb.ts', "import { open } from 'lmdb';", true],
  ['core/barrier.ts', "import { x } from '@noble/ciphers/chacha.js';", false],
  ['server/pipeline.ts', "import express from 'express';", false],
  ['web/a.ts', "import type { a } from '../wire/a.ts';", true],
  ['web/a.ts', "import { a } from '../wire/a.ts';", false],
  ['main.ts', "import { run } from './server/main.ts';", false],
  ['main.ts', "import type { P } from './cli/program.ts'; await import('./server/main.ts');", true],
  ['newcomer/a.ts', "import { a } from '../lib/a.ts';", false],
];

for (const [path, text, isAllowed] of EDGES) {
  test(`the import rule ${isAllowed ? 'lets' : 'refuses'} ${path}: ${text}`, () => {
    const violations = edgeViolations(sourceFile(path, text));
    assert.equal(violations.length === 0, isAllowed, violations.join('\n'));
  });
}

test('the cycle rule sees cycles of two, of three, of oneself and of types', () => {
  const file = (path: string, ...targets: readonly string[]) => sourceFile(path, targets.map((target) => `import type { X } from './${target}';`).join('\n'));
  assert.deepEqual(cyclesOf([file('a.ts', 'b.ts'), file('b.ts', 'a.ts')]), ['a.ts → b.ts → a.ts']);
  assert.deepEqual(cyclesOf([file('a.ts', 'b.ts'), file('b.ts', 'c.ts'), file('c.ts', 'b.ts', 'd.ts'), file('d.ts')]), ['b.ts → c.ts → b.ts']);
  assert.deepEqual(cyclesOf([file('a.ts', 'a.ts')]), ['a.ts → a.ts']);
  assert.deepEqual(cyclesOf([file('a.ts', 'b.ts', 'c.ts'), file('b.ts', 'd.ts'), file('c.ts', 'd.ts'), file('d.ts')]), []);
});

test('the rule on globals sees every way to reach them', () => {
  const count = (...files: readonly (readonly [string, string])[]) => globalViolations(files.map(([path, text]) => sourceFile(path, text))).length;
  for (const text of ['console.log(1);', 'process.stdout.write("x");', 'process["stdout"].write("x");', 'const { stdout } = process;', 'const { stderr: out } = process;', 'process.env.A;', 'process["en" + "v"];']) {
    assert.equal(count(['lib/a.ts', text]), 1, text);
  }
  assert.equal(count(['cli/output.ts', 'process.stdout.write("x"); console.error(1);']), 0);
  assert.equal(count(['agent/config.ts', 'process.env.A; const { env } = process;']), 0);
  assert.equal(count(['agent/config.ts', 'process.env.A;'], ['agent/other.ts', 'process.env.B;']), 1);
  assert.equal(count(['lib/a.ts', '// process.env\nconst text = "console.log"; const a = { env: 1 }; a.env;']), 0);
});

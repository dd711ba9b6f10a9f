// What comes from elsewhere: every package is pinned by its hash and by no host, none runs a script at installation, and our own code
// makes no code from text.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const ROOT = resolve(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

interface Package { readonly resolved?: string; readonly integrity?: string; readonly link?: boolean; readonly inBundle?: boolean; readonly hasInstallScript?: boolean }
const packages = Object.entries((JSON.parse(read('package-lock.json')) as { packages: Record<string, Package> }).packages).filter(([path]) => path !== '');

/** Packages that bring an install script, and why the program works without it having run. */
const UNUSED_SCRIPTS: Readonly<Record<string, string>> = {
  'cpu-features': 'optional speed-up of ssh2',
  esbuild: 'checks its binary, which an optional dependency brings',
  lmdb: 'builds what an optional dependency brings',
  'msgpackr-extract': 'builds what an optional dependency brings',
  protobufjs: 'prints a warning about versions',
  ssh2: 'optional speed-up; nothing here speaks SSH',
};

test('package-lock.json pins every package by SHA-512 and names no host', () => {
  assert.ok(packages.length > 50);
  for (const [path, entry] of packages) {
    assert.equal(entry.resolved, undefined, path);
    assert.match(entry.integrity ?? '', /^sha512-[A-Za-z0-9+/]{86}==$/, path);
  }
});

test('no install script runs, and every package that brings one is known to work without', () => {
  assert.match(read('.npmrc'), /^ignore-scripts=true$/m);
  const names = packages.filter(([, entry]) => entry.hasInstallScript === true).map(([path]) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length));
  assert.deepEqual(names.filter((name) => !Object.hasOwn(UNUSED_SCRIPTS, name)), []);
});

test('package.json names exact versions', () => {
  const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<'dependencies' | 'devDependencies', Record<string, string>>;
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) assert.match(version, /^\d+\.\d+\.\d+(?:-[\w.]+)?$/, name);
});

test('no source makes code from text or starts a shell', () => {
  const sources = (readdirSync(join(ROOT, 'src'), { recursive: true }) as string[]).filter((name) => name.endsWith('.ts'));
  assert.ok(sources.length > 100);
  for (const name of sources) {
    const text = read(join('src', name));
    assert.doesNotMatch(text, /\beval\s*\(|\bnew Function\b|\bFunction\s*\(|node:vm\b|\bexecSync\b|\bshell:\s*true|[^.]\bexec\s*\(\s*[`'"]/, name);
    assert.doesNotMatch(text, /handlebars\/(?:runtime|dist\/cjs\/handlebars\/compiler\/(?:compiler|javascript-compiler))|from 'handlebars'/, `${name}: only the parser, which makes no code`);
  }
});

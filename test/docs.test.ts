// What the documents promise: commands, options and labels that exist, every dependency defended, links that lead somewhere, and
// an error table that is the one in the code.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, test } from 'node:test';

import { EXIT, type Programs } from '../src/cli/context.ts';
import { createOutput } from '../src/cli/output.ts';
import { runCli } from '../src/cli/program.ts';
import { ERROR_CODES } from '../src/lib/error-codes.ts';

const ROOT = resolve(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const readme = read('README.md');

const DOCUMENTS = ['README.md', 'SECURITY.md', 'CHANGELOG.md', ...readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.md')).map((name) => `src/${name}`)];

/** Runs a command line far enough to see its help: an unknown command or option fails. */
async function help(args: readonly string[]): Promise<{ status: number; text: string }> {
  let text = '';
  const sink = { write: (chunk: string) => { text += chunk; return true; } } as unknown as NodeJS.WritableStream;
  const status = await runCli([...args, '--help'], {} as Programs, createOutput(sink, sink));
  return { status, text };
}

describe('README.md', () => {
  test('begins with the two commands', () => {
    const first = /```sh\n([^`]*)```/.exec(readme)?.[1] ?? '';
    assert.match(first, /^\.\/scripts\/quickstart\.sh[^\n]*\n\.\/scripts\/test\.sh[^\n]*\n$/);
  });

  const commands = [...readme.matchAll(/(?:^|\| ssh \S+ |`)purser ([a-z][^\n`|#<]*)/gm)].map((match) => (match[1] ?? '').trim()).filter((text) => !text.startsWith('driver`'));
  for (const command of new Set(commands)) {
    test(`names a command that exists: purser ${command}`, async () => {
      const words = command.split(/\s+/);
      const verbs = words.slice(0, words.findIndex((word) => !/^[a-z][a-z-]*$/.test(word)) === -1 ? words.length : words.findIndex((word) => !/^[a-z][a-z-]*$/.test(word)));
      let shown = { status: 1, text: '' };
      // The longest run of words that is a command: what follows are its arguments.
      for (let count = verbs.length; count > 0 && shown.status !== EXIT.done; count--) shown = await help(verbs.slice(0, count));
      assert.equal(shown.status, EXIT.done, shown.text);
      for (const option of command.match(/(?<=\s\[?)--[a-z-]+/g) ?? []) assert.ok(shown.text.includes(option), `${option} is an option of it`);
    });
  }

  test('has one line for every dependency', () => {
    const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
    for (const [name, version] of Object.entries(dependencies)) {
      assert.ok(readme.includes(`| ${name} |`) || readme.includes(`\`${name}\``), `${name} is defended`);
      assert.match(version, /^\d+\.\d+\.\d+$/, `${name} has an exact version`);
    }
  });
});

describe('documents', () => {
  for (const document of DOCUMENTS) {
    test(`${document} is whole: no marks of a merge`, () => {
      assert.doesNotMatch(read(document), /^(?:<{7}|>{7}|={7})/m);
    });

    test(`${document} links to files that exist`, () => {
      for (const [, target] of read(document).matchAll(/\]\(([^)#:]+)\)/g)) assert.ok(existsSync(join(ROOT, dirname(document), target ?? '')), `${document} → ${target ?? ''}`);
    });
  }

  test('src/lib/ERRORS.md is the catalogue of error-codes.ts', () => {
    const rows = [...read('src/lib/ERRORS.md').matchAll(/^\| `(ERR_[A-Z_]+)` \| (.*) \|$/gm)].map(([, code, meaning]) => [code, meaning]);
    assert.deepEqual(rows, Object.entries(ERROR_CODES), 'make it anew with scripts/list-errors.mjs');
  });

  test('the package-lock names no registry and no package runs a script at installation', () => {
    assert.equal(/"resolved"/.test(read('package-lock.json')), false);
    assert.match(read('.npmrc'), /^ignore-scripts=true$/m);
  });
});

// `purser usage` against a real server: every question, its columns, its refusals, and what names can do to a terminal.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { registerUsage } from '../../src/cli/commands/usage.ts';
import { createOutput } from '../../src/cli/output.ts';
import { Command } from 'commander';
import { PassThrough } from 'node:stream';
import type { CommandContext } from '../../src/cli/context.ts';
import { TestCore, workload, type TestNode } from '../server/node/test-core.ts';
import { batch, granted, opened, refused, released, rotated } from '../ledger/entries.ts';

const EVIL = '\u001b[2J<script>=cmd';
let core: TestCore;
let node: TestNode;
let token: string;

before(async () => {
  core = await TestCore.start();
  node = await core.join('n1');
  for (const name of ['x', 'y', 'idle']) await core.put(name, { f: '1' });
  await core.policy('wide', 'path "secret/data/*" { capabilities = ["read"] }');
  await core.role('wide', { policies: ['wide'], selectors: { name: ['web*'] } });
  await node.client.write('node/resolve', { workloads: [workload(['purser://secret/x#f'], { name: 'web' }), workload(['purser://secret/y#f'], { name: EVIL })] });
  await node.client.write('node/usage', batch(1, [
    granted('a', ['secret/x', 'secret/y']), opened('a', 'secret/x', 3), refused('a', 2), granted('b', ['secret/x']), released('b'), rotated('a', 'secret/x', 1),
    { ...granted('c', ['secret/y']), container: { id: 'c'.repeat(64), name: EVIL, image: 'i' } },
  ], new Date()));
  await core.put('y', { f: '2' });
  token = (await core.tokens.createRoot()).id;
});
after(() => core.close());

async function run(...args: string[]): Promise<string> {
  const stdout = Object.assign(new PassThrough(), { isTTY: true });
  const program = new Command('purser').exitOverride().configureOutput({ writeErr: () => undefined });
  const before = [process.env['PURSER_ADDR'], process.env['PURSER_TOKEN']];
  [process.env['PURSER_ADDR'], process.env['PURSER_TOKEN']] = [core.address, token];
  try {
    registerUsage(program, { output: createOutput(stdout, new PassThrough()) } as unknown as CommandContext);
    await program.parseAsync(['usage', ...args], { from: 'user' });
  } finally {
    for (const [index, name] of (['PURSER_ADDR', 'PURSER_TOKEN'] as const).entries()) {
      const value = before[index];
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
  return String(stdout.read() ?? '');
}

for (const [args, expected] of [
  [['--secret', 'secret/x'], /^SECRET +VERSION +CONTAINER +TARGET +IMAGE +NODE +SERVICE +STATE +SINCE +OPENS.*\nsecret\/x#f +1 +name-a \(a{12}\) +\/run\/secrets\/secret\/x +image +n1 .* held .* 3 .*\/bin\/cat \(uid 0\)/],
  [['--secret', 'secret/x', '--all'], /name-b.*released/],
  [['--container', 'name-a', '--unread'], /^[^\n]*\nsecret\/y#f [^\n]* never *\n?$/],
  [['--processes', '--secret', 'secret/x'], /read +\/bin\/cat +0 +1 +3[\s\S]*refused +\/bin\/ls/],
  [['--history', '--container', 'name-a'], /TIME +EVENT +SECRET[\s\S]*opened[\s\S]*granted +secret\/x#f secret\/y#f/],
  [['--history', '--type', 'released'], /released .* name-b/],
  [['--activity', '--since', '10m'], /^TIME +OPENED +REFUSED +DENIED\n[\s\S]* 3 +2 +[12]\b/],
  [['--activity', '--step', '24h', '--format', 'csv'], /^time,opened,refused,denied\n[\s\S]*,3,2,[12]\n/],
  [['--denied'], /denied +secret\/y|refused/],
  [['--stale'], /secret\/y#f +1 +2 +name-a.*not told yet/],
  [['--unused'], /SECRET +LAST USED\nsecret\/idle +never/],
  [['--matrix'], /secret\/y +container/],
  [['--roles'], /wide +wide +3 +1 +2 +no +secret\/idle secret\/y/],
  [['--roles', '--hcl'], /^# wide\npath "secret\/data\/x" \{\n {2}capabilities = \["read"\]\n\}/],
  [['--rotations', '--format', 'json'], /^\[/],
  [['--secret', 'secret/x', '--format', 'csv'], /^secret,version,container,/],
] as const) {
  test(`purser usage ${args.join(' ')}`, async () => {
    const text = await run(...args);
    assert.match(text, expected);
    assert.doesNotMatch(text, /\u001b/, 'a terminal gets nothing to obey');
  });
}

test('a spreadsheet gets no formula from a name', async () => {
  await node.client.write('node/usage', batch(8, [{ ...granted('d', ['secret/x']), container: { id: 'd'.repeat(64), name: '=cmd()', image: '=1+1' } }], new Date()));
  assert.match(await run('--container', '=cmd()', '--format', 'csv'), /,'=1\+1,/);
});

test('what a question does not take is refused before anything is asked', async () => {
  for (const args of [['--history', '--stale'], ['--stale', '--since', '1h'], ['--secret', 'a', '--node', 'b'], ['--hcl'], ['--rotations', '--secret', 'x'], ['--limit', '0'], ['--format', 'xml'], ['--type', 'opened'], ['--unused', '--secret', 'x']]) {
    await assert.rejects(run(...args), { code: 'ERR_CLI_USAGE' }, args.join(' '));
  }
});

test('--limit cuts, over pages as well', async () => {
  assert.equal((JSON.parse(await run('--history', '--limit', '3', '--format', 'json')) as unknown[]).length, 3);
  assert.ok((JSON.parse(await run('--history', '--format', 'json')) as unknown[]).length > 3);
});

// One voice: what holds for every command of the tree, whoever adds it.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Command } from 'commander';

import type { CommandContext, Programs } from '../../src/cli/context.ts';
import { createOutput } from '../../src/cli/output.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { run, withEnvironment } from './run.ts';

/** Commands whose result is no data: daemons, a script, a policy's text, what only says that it is done. */
const WITHOUT_FORMAT = ['server', 'agent', 'agent keep', 'agent release', 'driver', 'policy fmt', 'completion'];

const program = buildProgram({ output: createOutput(), programs: {} as Programs, exit: () => undefined } satisfies CommandContext);

function leaves(command: Command, path: readonly string[] = []): [path: string, command: Command][] {
  return command.commands.filter((child) => child.name() !== 'help').flatMap((child) => {
    const here = [...path, child.name()];
    const below = leaves(child, here);
    const runs = below.length === 0 || ['agent', 'rotate'].includes(here.join(' ')); // these do something of their own as well
    return [...(runs ? [[here.join(' '), child] as [string, Command]] : []), ...below];
  });
}

describe('every command', () => {
  const all = leaves(program);

  test('is found by this walk', () => {
    const names = all.map(([name]) => name);
    assert.ok(names.length > 90, String(names.length));
    for (const name of ['kv metadata get', 'token role list', 'doctor', 'rotate', 'rotate status']) assert.ok(names.includes(name), name);
  });

  test('has a description, in lower case and without a full stop', () => {
    for (const [name, command] of all) assert.match(command.description(), /^[a-z](?:.*[^.])?$|^OCI /, name);
  });

  test('has --format with json, and refuses another one before it does anything', async () => {
    const restore = withEnvironment({ PURSER_ADDR: 'http://127.0.0.1:1', PURSER_TOKEN: 'x'.repeat(20) });
    try {
      for (const [name, command] of all) {
        const option = command.options.find(({ long }) => long === '--format');
        if (WITHOUT_FORMAT.includes(name)) { assert.equal(option, undefined, name); continue; }
        assert.match(option?.description ?? '', /json/, name);
        const { status, out, err } = await run(...name.split(' '), '-format=yaml');
        assert.deepEqual([status, out], [2, ''], name);
        assert.match(err, /^purser: error: there is no such format; table, json(?:, csv)? are known\npurser: hint: /, name);
      }
    } finally {
      restore();
    }
  });

  test('takes its core from the same options', () => {
    for (const [name, command] of all) {
      const options = command.options.map(({ long }) => long);
      assert.equal(options.includes('--ca-cert'), options.includes('--address') && name !== 'agent keep', name);
    }
  });
});

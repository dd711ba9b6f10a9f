// planInstall(), planUninstall() and refuseFlagConflicts(): every text in, the text out, or the refusal.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { inspectConfig, planInstall, planUninstall, refuseFlagConflicts } from '../../src/agent/runtime-plan.ts';
import type { SavedRuntime } from '../../src/agent/runtime-plan.ts';
import { isPurserError } from '../../src/lib/errors.ts';

const path = '/usr/local/bin/purser-runtime';
const ours = { purser: { path } };
const refuses = (error: unknown): boolean => isPurserError(error, 'ERR_RUNTIME_CONFIG') && error.hint !== undefined;
const uninstall = (text: string | undefined, saved?: SavedRuntime, keepEntry = false) => planUninstall(text, saved, { path, keepEntry });

describe('planInstall()', () => {
  const merges: readonly [string, string | undefined, object][] = [
    ['no file', undefined, { 'runtimes': ours, 'default-runtime': 'purser' }],
    ['an empty object', '{}', { 'runtimes': ours, 'default-runtime': 'purser' }],
    ['a byte order mark', '\ufeff{}', { 'runtimes': ours, 'default-runtime': 'purser' }],
    ['other settings', '{"log-opts":{"max-size":"1m"},"live-restore":true}', { 'log-opts': { 'max-size': '1m' }, 'live-restore': true, 'runtimes': ours, 'default-runtime': 'purser' }],
    ['other runtimes', '{"runtimes":{"nvidia":{"path":"n","runtimeArgs":[]}},"default-runtime":"nvidia"}', { 'runtimes': { nvidia: { path: 'n', runtimeArgs: [] }, ...ours }, 'default-runtime': 'purser' }],
    ['its own entry that is not the default', JSON.stringify({ runtimes: ours }), { 'runtimes': ours, 'default-runtime': 'purser' }],
  ];
  for (const [what, text, expected] of merges) {
    test(`merges into ${what}, and once is enough`, () => {
      const plan = planInstall(text, { path });
      assert.deepEqual(JSON.parse(plan.text), expected);
      assert.equal(plan.isChanged, true);
      const again = planInstall(plan.text, { path, saved: plan.saved });
      assert.deepEqual([again.text, again.isChanged, again.saved], [plan.text, false, plan.saved]);
    });
  }

  test('keeps order, large numbers and indentation', () => {
    const text = '{\n\t"z": 18446744073709551615,\n\t"a": [\n\t\t1.50\n\t]\n}\n';
    assert.equal(planInstall(text, { path }).text,
      `{\n\t"z": 18446744073709551615,\n\t"a": [\n\t\t1.50\n\t],\n\t"runtimes": {\n\t\t"purser": {\n\t\t\t"path": "${path}"\n\t\t}\n\t},\n\t"default-runtime": "purser"\n}\n`);
  });

  test('moves its own entry to a new path and remembers the first default', () => {
    const first = planInstall('{"default-runtime":"runc"}', { path: '/opt/purser-runtime' });
    const second = planInstall(first.text, { path, saved: first.saved });
    assert.deepEqual(inspectConfig(second.text), { path, isDefault: true });
    assert.equal(second.saved.previousDefault, 'runc');
    assert.deepEqual(JSON.parse(uninstall(second.text, second.saved).text ?? ''), { 'default-runtime': 'runc' });
  });

  const refused: readonly [string, string][] = [
    ['an empty file', ''], ['white space', ' \n'], ['a trailing comma', '{"a":1,}'], ['an array', '[]'], ['null', 'null'], ['a comment', '{/* x */}'], ['half a file', '{"log-level":"inf'],
    ['duplicate keys', '{"runtimes":{},"runtimes":{}}'], ['duplicate keys inside', '{"log-opts":{"a":"1","a":"2"}}'], ['runtimes that are no object', '{"runtimes":[]}'],
    ['runtimes that are null', '{"runtimes":null}'], ['a default that is no string', '{"default-runtime":1}'], ['a foreign runtime of that name', '{"runtimes":{"purser":{"path":"/other"}}}'],
    ['a containerd runtime of that name', '{"runtimes":{"purser":{"runtimeType":"io.containerd.x"}}}'], ['an entry that is no object', '{"runtimes":{"purser":"x"}}'],
  ];
  for (const [what, text] of refused) {
    test(`refuses ${what}, and so does planUninstall()`, () => {
      assert.throws(() => planInstall(text, { path }), refuses);
      assert.throws(() => uninstall(text), refuses);
    });
  }
});

describe('planUninstall()', () => {
  const config = fc.tuple(
    fc.dictionary(fc.string().filter((key) => key !== 'runtimes' && key !== 'default-runtime'), fc.jsonValue()),
    fc.option(fc.dictionary(fc.constantFrom('a', 'b'), fc.record({ path: fc.string() })), { nil: undefined }),
    fc.option(fc.constantFrom('runc', 'a'), { nil: undefined }), fc.constantFrom(0, 1, 2, 3, '\t'),
  ).map(([others, runtimes, name, space]) => JSON.stringify({ ...others, runtimes, 'default-runtime': name }, null, space));

  test('gives back every untouched file byte for byte', () => {
    fc.assert(fc.property(fc.option(config, { nil: undefined }), (text) => {
      const { text: installed, saved } = planInstall(text, { path });
      assert.deepEqual(uninstall(installed, saved).text, text);
    }));
  });

  test('takes only its own settings out of a file that was edited meanwhile', () => {
    const { text, saved } = planInstall('{"default-runtime":"a","runtimes":{"a":{"path":"/a"}}}', { path });
    const edited = JSON.stringify({ ...JSON.parse(text) as object, debug: true });
    assert.deepEqual(JSON.parse(uninstall(edited, saved).text ?? ''), { 'default-runtime': 'a', 'runtimes': { a: { path: '/a' } }, 'debug': true });
  });

  const edits: readonly [string, string | undefined, object, object | undefined, string][] = [
    ['leaves a default that the operator chose', '{}', { 'runtimes': { ...ours, x: { path: '/x' } }, 'default-runtime': 'x' }, { 'runtimes': { x: { path: '/x' } }, 'default-runtime': 'x' }, 'x'],
    ['does not go back to a default that is gone', '{"default-runtime":"a","runtimes":{"a":{"path":"/a"}}}', { 'runtimes': ours, 'default-runtime': 'purser', 'debug': true }, { debug: true }, 'runc'],
    ['goes back to a shim of containerd', '{"default-runtime":"io.containerd.kata.v2"}', { 'runtimes': ours, 'default-runtime': 'purser' }, { 'default-runtime': 'io.containerd.kata.v2' }, 'io.containerd.kata.v2'],
    ['deletes a file that it created and that holds nothing else', undefined, { 'default-runtime': 'purser', 'runtimes': ours }, undefined, 'runc'],
    ['keeps a file that it created and that holds more', undefined, { 'default-runtime': 'purser', 'runtimes': ours, 'debug': true }, { debug: true }, 'runc'],
    ['keeps a file that it did not create', '{}', { 'default-runtime': 'purser', 'runtimes': ours }, {}, 'runc'],
  ];
  for (const [what, before, now, expected, name] of edits) {
    test(what, () => {
      const plan = uninstall(JSON.stringify(now, null, 1), planInstall(before, { path }).saved);
      assert.deepEqual(plan.text === undefined ? undefined : JSON.parse(plan.text), expected);
      assert.equal(plan.defaultRuntime, name);
      // dockerd keeps what a reloaded file does not mention.
      const reloaded = JSON.parse(plan.reloadText) as Record<string, unknown>;
      assert.equal(reloaded['default-runtime'], name);
      assert.ok(!Object.hasOwn(reloaded['runtimes'] as object, 'purser'));
    });
  }

  test('keeps the entry for containers that need it, and finishes later', () => {
    const { text, saved } = planInstall(undefined, { path });
    const partly = uninstall(text, saved, true);
    assert.deepEqual(JSON.parse(partly.text ?? ''), { runtimes: ours });
    assert.equal(uninstall(partly.text, saved, true).isChanged, false);
    assert.equal(uninstall(partly.text, saved).text, undefined);
  });

  test('works without what the installation remembered, and changes nothing where nothing is', () => {
    assert.deepEqual(JSON.parse(uninstall(JSON.stringify({ 'runtimes': ours, 'default-runtime': 'purser', 'debug': true })).text ?? ''), { debug: true });
    for (const text of [undefined, '{"debug":true}', '{"runtimes":{}}']) {
      const plan = uninstall(text);
      assert.deepEqual([plan.text, plan.isChanged, plan.defaultRuntime], [text, false, 'runc'], text);
    }
  });
});

describe('refuseFlagConflicts()', () => {
  const table: readonly [string, string[], boolean][] = [
    ['no flags', ['dockerd'], true], ['other flags', ['dockerd', '-H', 'fd://', '--containerd=/run/c.sock', '--default-runtime-x'], true],
    ['the same file', ['dockerd', '--config-file', '/etc/docker/daemon.json'], true], ['another file', ['dockerd', '--config-file=/etc/d.json'], false],
    ['another file, in two words', ['dockerd', '--config-file', '/etc/d.json'], false], ['a default runtime', ['dockerd', '--default-runtime', 'runc'], false],
    ['a default runtime with =', ['dockerd', '--default-runtime=runc'], false], ['a runtime', ['dockerd', '--add-runtime', 'a=/a'], false],
  ];
  for (const [what, argv, isFine] of table) {
    test(`${isFine ? 'allows' : 'refuses'} ${what}`, () => {
      const check = (): void => { refuseFlagConflicts(argv, '/etc/docker/daemon.json'); };
      if (isFine) assert.doesNotThrow(check);
      else assert.throws(check, refuses);
    });
  }
});

// The keeper's decisions, against an engine that keeps containers in a list: what is made, left alone, replaced, and taken away.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, test } from 'node:test';

import type { KeptContainer } from '../../src/agent/keeper/engine.ts';
import { agentContainer, holderContainer, type HostedContainer, type HostedSettings } from '../../src/agent/keeper/hosted.ts';
import { Keeper } from '../../src/agent/keeper/keeper.ts';
import { recordedLog } from '../fakes/silent-log.ts';

const SETTINGS: HostedSettings = { imageId: 'sha256:one', dockerRoot: '/srv/docker', agentArguments: [] };

/** An engine with these containers, and what was done to it. */
function engineWith(containers: readonly KeptContainer[]) {
  let list = [...containers];
  const done: string[] = [];
  const named = (id: string): string => list.find((one) => one.id === id)?.name ?? 'nobody';
  const set = (id: string, state: string): void => { list = list.map((one) => (one.id === id ? { ...one, state } : one)); };
  return {
    done,
    engine: {
      kept: async () => list,
      create: async ({ name, fingerprint, options }: HostedContainer) => { done.push(`create ${name}`); list.push({ id: `new-${name}`, name, fingerprint, imageId: options.Image ?? '', state: 'running' }); },
      start: async (id: string) => { done.push(`start ${named(id)}`); set(id, 'running'); },
      stop: async (id: string) => { done.push(`stop ${named(id)}`); set(id, 'exited'); },
      remove: async (id: string) => { done.push(`remove ${named(id)}`); list = list.filter((one) => one.id !== id); },
      lastWords: async () => ['purser: error: the reason'],
    },
  };
}

const existing = ({ name, fingerprint, options }: HostedContainer, state = 'running'): KeptContainer => ({ id: `id-${name}`, name, fingerprint, imageId: options.Image ?? '', state });
const OTHER = { ...SETTINGS, imageId: 'sha256:other' };
const { log, text } = recordedLog();

describe('keep()', () => {
  const cases: readonly [string, readonly KeptContainer[], readonly string[]][] = [
    ['makes both, the holder first', [], ['create purser-holder', 'create purser-agent']],
    ['does nothing while both run', [existing(holderContainer(SETTINGS)), existing(agentContainer(SETTINGS))], []],
    ['replaces an agent of another image and leaves a holder of whatever image alone', [existing(holderContainer(OTHER)), existing(agentContainer(OTHER))], ['stop purser-agent', 'remove purser-agent', 'create purser-agent']],
    ['leaves an agent alone that has lost its holder, because its containers would lose their files', [existing(holderContainer(OTHER), 'exited'), existing(agentContainer(SETTINGS))], []],
    ['makes both anew when neither runs', [existing(holderContainer(OTHER), 'exited'), existing(agentContainer(SETTINGS), 'restarting')],
      ['stop purser-agent', 'remove purser-agent', 'stop purser-holder', 'remove purser-holder', 'create purser-holder', 'create purser-agent']],
    ['gives a new agent a new holder when the old one is gone', [existing(agentContainer(OTHER))], ['stop purser-agent', 'remove purser-agent', 'create purser-holder', 'create purser-agent']],
    ['starts what somebody stopped', [existing(holderContainer(SETTINGS)), existing(agentContainer(SETTINGS), 'exited')], ['start purser-agent']],
    ['leaves to Docker what Docker restarts', [existing(holderContainer(SETTINGS)), existing(agentContainer(SETTINGS), 'restarting')], []],
    ['replaces an agent with other arguments', [existing(holderContainer(SETTINGS)), existing(agentContainer({ ...SETTINGS, agentArguments: ['--env', 'strict'] }))], ['stop purser-agent', 'remove purser-agent', 'create purser-agent']],
  ];
  for (const [what, containers, expected] of cases) {
    test(what, async () => {
      const { engine, done } = engineWith(containers);
      const keeper = new Keeper({ ...SETTINGS, engine, log, isInUse: async () => false });
      await keeper.keep();
      assert.deepEqual(done, expected);
      done.length = 0;
      await keeper.keep();
      assert.deepEqual(done, [], 'and then it is so');
    });
  }

  test('says once why a container does not run', async () => {
    const { engine } = engineWith([existing(holderContainer(SETTINGS)), existing(agentContainer(SETTINGS), 'restarting')]);
    const keeper = new Keeper({ ...SETTINGS, engine, log, isInUse: async () => false });
    const before = text().length;
    await keeper.keep();
    await keeper.keep();
    assert.equal(text().slice(before).split('purser: error: the reason').length - 1, 1);
  });
});

describe('leave()', () => {
  const both = [existing(holderContainer(SETTINGS)), existing(agentContainer(SETTINGS))];
  const cases: readonly [string, readonly boolean[], readonly string[]][] = [
    ['stops the agent, then the holder', [false, false], ['stop purser-agent', 'stop purser-agent', 'remove purser-agent', 'stop purser-holder', 'remove purser-holder']],
    ['touches nothing while containers have files', [true], []],
    ['starts the agent again when a container came while it stopped', [false, true], ['stop purser-agent', 'start purser-agent']],
  ];
  for (const [what, uses, expected] of cases) {
    test(what, async () => {
      const { engine, done } = engineWith(both);
      const answers = [...uses];
      const gone = await new Keeper({ ...SETTINGS, engine, log, isInUse: async () => answers.shift() ?? false }).leave();
      assert.deepEqual(done, expected);
      assert.equal(gone, expected.includes('remove purser-holder'));
    });
  }
});

test('neither container is privileged or sees more of the host than it works on', () => {
  const hosts = (container: HostedContainer): string[] => (container.options.HostConfig?.Binds ?? []).map((bind) => bind.split(':')[0] ?? '');
  assert.deepEqual(hosts(holderContainer(SETTINGS)), ['/run/purser']);
  assert.deepEqual(hosts(agentContainer(SETTINGS)), ['/run/purser', '/srv/docker', '/run/docker.sock', '/run/docker/plugins', '/sys/fs/cgroup', '/var/lib/purser/agent']);
  for (const { options } of [holderContainer(SETTINGS), agentContainer(SETTINGS)]) {
    assert.deepEqual([options.HostConfig?.Privileged ?? false, options.HostConfig?.CapDrop, options.Env ?? []], [false, ['ALL'], []]);
  }
});

test('the stack names the image that scripts/build-image.sh makes of this release', () => {
  const root = resolve(import.meta.dirname, '../..');
  const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as { version: string };
  assert.match(readFileSync(`${root}/deploy/agent-stack.yml`, 'utf8'), new RegExp(`image: \\$\\{PURSER_IMAGE:-purser-agent:${version.replaceAll('.', '\\.')}\\}`));
});

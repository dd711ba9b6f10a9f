// Prompts on a real terminal (a pty of util-linux' script): what is typed is not shown, and who goes away changes nothing.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { startUnsealed, type TestServer } from '../server/running.ts';
import { withEnvironment } from './run.ts';

const PURSER = fileURLToPath(new URL('../../dist/purser', import.meta.url));
const CANARY = 'canary-7f3a';
const hasScript = spawnSync('script', ['--version']).status === 0;

describe('a prompt', { skip: !hasScript && 'util-linux script is not installed' }, () => {
  let server: TestServer;
  let restore: () => void;
  before(async () => {
    server = await startUnsealed();
    restore = withEnvironment({ PURSER_ADDR: server.server.address, PURSER_TOKEN: server.root });
  });
  after(async () => { restore(); await server.stop(); });

  /** Types `typed` as soon as the prompt is there. @returns what the terminal showed */
  async function onTerminal(line: string, typed: string): Promise<{ status: number | null; shown: string }> {
    const child = spawn('script', ['-qefc', `${process.execPath} ${PURSER} ${line}`, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
    let shown = '';
    let isTyped = false;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
      if (isTyped || !shown.includes('(will not be shown): ')) return;
      isTyped = true;
      child.stdin.write(typed);
    });
    const [status] = await once(child, 'close') as [number | null];
    return { status, shown };
  }
  const stored = async (): Promise<unknown> => (await server.call('GET', 'secret/data/p')).status === 404 ? undefined : ((await server.call('GET', 'secret/data/p')).body as { data: { data: unknown } }).data.data;

  test('that is interrupted, or ended with Ctrl-D, fails and stores nothing', async () => {
    for (const [typed, says] of [['\u0003', /error: interrupted/], ['\u0004', /error: the value of password was not given/], [`${CANARY}\u0003`, /error: interrupted/]] as const) {
      const { status, shown } = await onTerminal('kv put secret/p password', typed);
      assert.deepEqual([status, shown.includes(CANARY)], [2, false], shown);
      assert.match(shown, says);
      assert.match(shown, /purser: hint: give password=-/);
    }
    assert.equal(await stored(), undefined);
  });

  test('shows nothing of a value, which is stored as typed, corrections included', async () => {
    const { status, shown } = await onTerminal('kv put secret/p password', `${CANARY}x\u007f\r`);
    assert.deepEqual([status, shown.includes(CANARY)], [0, false], shown);
    assert.match(shown, /^value of password \(will not be shown\): \r\nsecret\/p is at version 1\r\n$/);
    assert.deepEqual(await stored(), { password: CANARY });
  });

  for (const [line, question] of [['login', 'token'], ['unseal', 'unseal share'], ['unwrap', 'wrapping token'], ['login --method userpass username=mary', 'password'], ['audit hash file', 'value'], ['generate-root decode AAAA', 'one-time password']] as const) {
    test(`of purser ${line} shows nothing either`, async () => {
      const { shown } = await onTerminal(line, `${CANARY}\r`);
      assert.ok(shown.includes(`${question} (will not be shown): `), shown);
      assert.ok(!shown.includes(CANARY), shown);
    });
  }
});

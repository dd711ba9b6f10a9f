// The web page over a core in which much is going on: two hundred containers, ten thousand rows in one table, and every way to sign in. The nodes are sessions
// that speak the protocol of agents, so no engine is needed; test/e2e/web.test.ts has the page over a real one.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';

import { joinNode } from '../../src/client/node/join.ts';
import { NodeSession } from '../../src/client/node/session.ts';
import { loadConfig } from '../../src/server/config.ts';
import { startServer, type RunningServer } from '../../src/server/server.ts';
import type { UsageEntry } from '../../src/wire/node-protocol.ts';
import { startIdentityProvider, type IdentityProvider } from '../fakes/identity-provider.ts';
import { call, silent, temporaryDirectory } from '../server/running.ts';
import { accessibility, load, screenshot, startBrowser } from './browser.ts';
import { eventually } from './command.ts';

const UI = resolve(import.meta.dirname, '../../dist/ui');
const ROOT = 'root-token-of-this-test';
const NODES = 4;
const CONTAINERS = 200;
/** On one more node: containers with many secrets, as many holdings as one answer has. */
const ROWS = 10_000;
const PER_CONTAINER = 250;
const BATCH = 250;
const SECRET = 'secret/shop/database';

type Unnumbered = UsageEntry extends infer E ? E extends UsageEntry ? Omit<E, 'seq' | 'time'> : never : never;
const idOf = (name: string): string => createHash('sha256').update(name).digest('hex');

/** A node as the core sees it. */
class Node {
  readonly #session: NodeSession;
  #acknowledged = 0;

  constructor(session: NodeSession) {
    this.#session = session;
  }

  /** The core may take a part of a batch that touches much. */
  async report(entries: readonly Unnumbered[]): Promise<void> {
    const first = this.#acknowledged + 1;
    const numbered = entries.map((entry, index) => ({ ...entry, seq: first + index, time: new Date().toISOString() }));
    for (let left = numbered; left.length > 0; left = left.filter(({ seq }) => seq > this.#acknowledged)) {
      const { acknowledged } = await this.#session.call((client) => client.write('node/usage', { spool: '00000000-0000-4000-8000-000000000000', entries: left.slice(0, BATCH) }));
      this.#acknowledged = Number(acknowledged);
    }
  }

  close(): void {
    this.#session.close();
  }
}

function granted(container: string, service: string | undefined, paths: readonly string[], version = 1): Unnumbered {
  return {
    type: 'granted', container: { id: idOf(container), name: container, image: `registry.internal/shop/${service ?? 'tool'}:1.4`, ...(service === undefined ? {} : { service: `shop_${service}` }) },
    secrets: paths.map((path) => ({ path, field: 'password', version, target: `/run/secrets/${path.split('/').at(-1) ?? ''}` })),
  };
}

function opened(container: string, path: string, count: number): Unnumbered {
  const now = new Date().toISOString();
  return {
    type: 'opened', container_id: idOf(container), path, field: 'password', version: 1, target: `/run/secrets/${path.split('/').at(-1) ?? ''}`,
    process: { pid: 7, uid: 1000, executable: '/usr/local/bin/node', name: 'node' }, count, first_time: now, last_time: now,
  };
}

describe('the web page with much in it', () => {
  const { path: directory, remove } = temporaryDirectory();
  let server: RunningServer;
  let provider: IdentityProvider;
  let browser: Browser;
  let page: Page;
  const nodes: Node[] = [];
  const problems: string[] = [];
  const post = async (path: string, body: object): Promise<void> => {
    const { status, text } = await call(server.address, 'POST', path, { token: ROOT, body });
    assert.ok(status < 300, `${path}: ${text}`);
  };
  const containerOf = (index: number): string => `shop_api.${String(index)}`;
  const allContainers = Array.from({ length: CONTAINERS }, (_, index) => index);
  const rotate = (version: number): Promise<void[]> => Promise.all(nodes.slice(0, NODES).map((node, mine) => node.report(allContainers.filter((index) => index % NODES === mine)
    .map((index) => ({ type: 'rotated', container_id: idOf(containerOf(index)), path: SECRET, field: 'password', version, target: '/run/secrets/database' })))));

  before(async () => {
    [provider, server, browser] = await Promise.all([startIdentityProvider(), startServer(loadConfig({ dev: true, devRootToken: ROOT, listen: '127.0.0.1:0', auditFile: join(directory, 'audit', 'audit.log') }), silent, undefined, UI), startBrowser()]);
    await post('sys/policies/acl/operator', { policy: `path "secret/data/shop/*" { capabilities = ["create", "update"] }
      path "secret/metadata/*" { capabilities = ["read", "list"] }
      path "sys/usage" { capabilities = ["read"] }
      path "sys/usage/*" { capabilities = ["read"] }` });
    await post('sys/auth/userpass', { type: 'userpass' });
    await post('auth/userpass/users/mary', { password: 'a long password', token_policies: ['operator'] });
    await post('sys/auth/jwt', { type: 'jwt' });
    await post('auth/jwt/config', { jwks_url: `${provider.url}/keys` });
    await post('auth/jwt/role/operator', { role_type: 'jwt', user_claim: 'sub', bound_audiences: 'purser', token_policies: ['operator'] });
    await post(`secret/data/${SECRET.slice('secret/'.length)}`, { data: { password: 'the old one', user: 'shop' } });
    const { text } = await call(server.address, 'POST', 'auth/node/join-token', { token: ROOT, body: { num_uses: NODES + 1 } });
    const { data: { token } } = JSON.parse(text) as { data: { token: string } };
    for (let index = 0; index <= NODES; index++) {
      const identity = await joinNode({ token, stateDirectory: join(directory, `node-${String(index)}`), name: `node-${String(index)}` });
      nodes.push(new Node(new NodeSession(identity)));
    }
    await Promise.all(nodes.slice(0, NODES).map((node, mine) => node.report(allContainers.filter((index) => index % NODES === mine).flatMap((index) => [
      granted(containerOf(index), 'api', [SECRET, 'secret/shop/mail']), ...(index % 3 === 0 ? [opened(containerOf(index), SECRET, 1 + index)] : []),
    ]))));
    await nodes[NODES]?.report(Array.from({ length: ROWS / PER_CONTAINER }, (_, container) =>
      granted(`batch-${String(container)}`, undefined, Array.from({ length: PER_CONTAINER }, (__, secret) => `secret/batch/${String(container)}/${String(secret)}`))));
    page = await (await browser.newContext({ viewport: { width: 1280, height: 900 } })).newPage();
    page.setDefaultTimeout(20_000);
    page.on('console', (message) => { if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) problems.push(message.text()); });
    page.on('pageerror', (error) => problems.push(error.message));
  });
  after(async () => {
    await browser?.close();
    for (const node of nodes) node.close();
    await server?.close();
    await provider?.close();
    remove();
  });

  const visit = async (view: string): Promise<void> => { await page.goto(`${server.address}/ui/#/${view}`); };
  const open = async (): Promise<void> => { await load(page, `${server.address}/ui/`); await page.getByRole('heading', { name: 'Purser' }).waitFor(); };
  const signOut = async (): Promise<void> => { await page.getByRole('button', { name: 'Sign out' }).click(); await page.getByRole('button', { name: 'Sign in' }).waitFor(); };

  test('signs in with a name and a password, says when they are wrong, and ends the token at sign-out', async () => {
    await open();
    await page.getByLabel('Name and password').check();
    await page.getByLabel('Name', { exact: true }).fill('mary');
    await page.getByLabel('Password', { exact: true }).fill('wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    assert.match(await page.getByRole('alert').innerText(), /invalid username or password/);
    await page.getByLabel('Password', { exact: true }).fill('a long password');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await page.getByText('userpass-mary').waitFor();
    const token = await page.evaluate<string>('JSON.parse(sessionStorage.getItem("purser-session")).token');
    await signOut();
    await eventually('the end of the token', async () => (await call(server.address, 'GET', 'auth/token/lookup-self', { token })).status === 403);
  });

  test('signs in with a JWT, and says what is wrong with another', async () => {
    await page.getByLabel('JWT', { exact: true }).first().check();
    await page.getByLabel('Role', { exact: true }).fill('operator');
    const field = page.locator('[name=jwt]');
    await field.fill('not.a.jwt');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').waitFor();
    await field.fill(await provider.sign());
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await page.getByText('jwt-ann').waitFor();
    await signOut();
  });

  test('with the keyboard alone: signs in, sets a value that it may not read, and sees two hundred containers take it', async () => {
    await open();
    const tabTo = async (what: string, isIt: () => Promise<boolean>): Promise<void> => {
      for (let presses = 0; presses < 80; presses++) {
        if (await isIt()) return;
        await page.keyboard.press('Tab');
      }
      assert.fail(`Tab does not reach ${what}`);
    };
    const isFocused = (selector: string) => async (): Promise<boolean> => page.evaluate<boolean>(`document.activeElement?.matches(${JSON.stringify(selector)}) === true`);
    await tabTo('the way to sign in', isFocused('[type=radio]'));
    await page.keyboard.press('ArrowDown');
    await tabTo('the name', isFocused('[name=username]'));
    await page.keyboard.type('mary');
    await tabTo('the password', isFocused('[name=password]'));
    await page.keyboard.type('a long password');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await tabTo('Secrets', async () => page.evaluate<boolean>('document.activeElement?.textContent === "Secrets"'));
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Secrets', level: 1 }).waitFor();
    await tabTo('the filter', isFocused('[type=search]'));
    await page.keyboard.type('shop database');
    await tabTo('the secret', async () => page.evaluate<boolean>(`document.activeElement?.textContent === ${JSON.stringify(SECRET)}`));
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: SECRET }).waitFor();
    await page.locator('.rotation .figure', { hasText: '100 %' }).waitFor();
    await tabTo('the field', isFocused('.new-value input[type=text], .new-value input:not([type])'));
    await page.keyboard.press('Control+A');
    await page.keyboard.type('password');
    await tabTo('its value', isFocused('.new-value input[type=password]'));
    await page.keyboard.type('the new one');
    await page.keyboard.press('Enter');
    await page.getByText('wrote version 2').waitFor();
    const bar = page.locator('.rotation:has(strong:text-is("2")) .figure');
    await bar.filter({ hasText: /^0 %$/ }).waitFor();
    await screenshot(page, 'many-rotating');
    const began = performance.now();
    await rotate(2);
    await bar.filter({ hasText: '100 %' }).waitFor();
    const milliseconds = performance.now() - began;
    assert.ok(milliseconds < 20_000, `${String(milliseconds)} ms until the bar was full`);
    await page.getByText(`${String(CONTAINERS)} of ${String(CONTAINERS)} containers`).waitFor();
    await signOut();
  });

  test('ten thousand rows are a table that is there at once, filters as one types, and draws only what is looked at', async () => {
    await open();
    await page.locator('[type=password]').fill(ROOT);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await visit(`nodes/node-${String(NODES)}`);
    await page.getByText(`${ROWS.toLocaleString('en')} secrets on this node`).waitFor();
    assert.ok(await page.locator('section').first().locator('tbody tr').count() <= 50);
    const began = performance.now();
    await page.getByRole('searchbox').first().fill('batch/39/24');
    await page.getByText(`11 of ${ROWS.toLocaleString('en')} secrets on this node`).waitFor();
    assert.ok(performance.now() - began < 15_000, 'filtering takes no thought');
    await page.getByRole('button', { name: 'container', exact: true }).first().click();
    await page.locator('th[aria-sort=ascending]', { hasText: 'container' }).first().waitFor();
    assert.equal(await page.locator('section').first().locator('tbody tr').count(), 11);
  });

  for (const [view, name] of [['', 'overview'], ['secrets', 'secrets'], [`secrets/${encodeURIComponent(SECRET)}`, 'secret'], ['containers', 'containers'], [`containers/${idOf(containerOf(0))}`, 'container'], ['nodes', 'nodes'], ['nodes/node-0', 'node'], ['matrix', 'matrix'], ['roles', 'roles'], ['audit', 'audit']] as const) {
    test(`the view "${name}" is accessible and fits a phone with much in it`, async () => {
      await visit(view);
      await page.getByRole('heading', { level: 1 }).waitFor();
      await eventually('the data', async () => !(await page.locator('main').innerText()).includes('loading…'));
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        assert.deepEqual(await accessibility(page), [], colorScheme);
        await screenshot(page, `many-${name}-${colorScheme}`);
      }
      await page.emulateMedia({ colorScheme: 'light' });
      await page.setViewportSize({ width: 390, height: 844 });
      assert.ok(await page.evaluate<boolean>('document.documentElement.scrollWidth <= window.innerWidth'), 'nothing sticks out sideways');
      await screenshot(page, `many-${name}-phone`);
      await page.setViewportSize({ width: 1280, height: 900 });
    });
  }

  test('nothing was refused by the policy or failed in the page', () => {
    assert.deepEqual(problems, []);
  });
});

// The web page in a real browser, over a real core, agent and engine: signing in, finding the holders of a secret, rotating it without being able
// to read it, watching the bar fill, and every view on a phone, in the dark and for assistive technology.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Browser, BrowserContext, Page } from 'playwright-core';

import { accessibility, load, screenshot, startBrowser } from './browser.ts';
import { docker, eventually } from './command.ts';
import { ADDRESS, Installation } from './installation.ts';

const CONTAINERS = 6;
const CANARY = 'canary-of-the-web-test';
const HOSTILE = '<img src=x onerror=alert(1)>';

describe('the web page', () => {
  let purser: Installation;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  const problems: string[] = [];

  before(async () => {
    purser = await Installation.start();
    await purser.put('secret/db/prod', { user: 'app', password: CANARY });
    await purser.put('secret/db/spare', { password: 'x' });
    for (let count = 0; count < CONTAINERS; count++) {
      await docker('run', '-d', '--name', `web-${String(count)}`, '-l', 'purser.file.pw=purser://secret/db/prod#password', '-l', 'purser.file.user=purser://secret/db/prod#user', 'busybox', 'sleep', '600');
    }
    await docker('exec', 'web-0', 'cat', '/run/secrets/pw');
    browser = await startBrowser();
    context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 900 } });
    page = await context.newPage();
    page.setDefaultTimeout(10_000);
    page.on('console', (message) => { if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) problems.push(message.text()); });
    page.on('pageerror', (error) => problems.push(error.message));
  });
  after(async () => {
    await browser?.close();
    await purser.stop();
  });

  const rootToken = (): string => readFileSync(join(purser.dataDirectory, 'root-token'), 'utf8').trim();
  async function signIn(on: Page, token: string): Promise<void> {
    await load(on, `${ADDRESS}/ui/`);
    await on.getByRole('textbox', { name: 'Token' }).or(on.getByLabel('Token', { exact: true }).and(on.locator('[type=password]'))).fill(token);
    await on.getByRole('button', { name: 'Sign in' }).click();
    await on.getByRole('heading', { name: 'Overview' }).waitFor();
  }
  const visit = async (view: string): Promise<void> => { await page.goto(`${ADDRESS}/ui/#/${view}`); };

  test('comes with headers that let it load nothing but itself', async () => {
    const response = await load(page, `${ADDRESS}/`);
    assert.ok(page.url().endsWith('/ui/'));
    const policy = response.headers()['content-security-policy'] ?? '';
    for (const part of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"]) assert.ok(policy.includes(part), part);
    assert.equal(policy.includes('unsafe'), false);
    assert.equal(response.headers()['x-content-type-options'], 'nosniff');
    assert.deepEqual(await accessibility(page), []);
    await screenshot(page, 'sign-in');
  });

  test('a wrong token is refused in words, and the right one signs in', async () => {
    await page.locator('[type=password]').fill('hvs.wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').waitFor();
    assert.match(await page.getByRole('alert').innerText(), /does not know this token/);
    await signIn(page, rootToken());
    assert.equal(await page.evaluate('document.cookie'), '');
  });

  test('plots what was read and refused, and says the same in a table', async () => {
    await assert.rejects(docker('run', '--rm', '-l', 'purser.file.pw=purser://secret/none#password', 'busybox', 'true'));
    await eventually('the plot', async () => /[1-9]/.test(await page.locator('.activity figcaption', { hasText: 'refusals' }).innerText()) && /[1-9]/.test(await page.locator('.activity figcaption', { hasText: 'reads' }).innerText()), 20_000);
    for (const name of ['reads', 'refusals']) assert.match(await page.locator('.activity svg', { has: page.locator(`rect.${name}`) }).locator('desc').textContent() ?? '', new RegExp(`^[1-9][0-9,]* ${name} from .* at most [1-9]`));
    await page.getByText('the figures as a table').focus();
    await page.keyboard.press('Enter');
    await page.locator('.activity').getByRole('row').nth(1).waitFor();
  });

  test('finds the holders of a secret', async () => {
    await page.getByRole('link', { name: 'Secrets' }).click();
    await page.getByRole('link', { name: 'secret/db/prod', exact: true }).first().click();
    await page.getByRole('heading', { name: 'secret/db/prod' }).waitFor();
    for (let count = 0; count < CONTAINERS; count++) await page.getByRole('link', { name: `web-${String(count)}`, exact: true }).first().waitFor();
    assert.equal((await page.content()).includes(CANARY), false, 'no value is shown unless asked for');
    await screenshot(page, 'secret');
  });

  test('a writer who may not read rotates it and sees the bar reach 100 %', async () => {
    await purser.purserWithInput(`path "secret/data/db/*" { capabilities = ["create", "update", "patch"] }
      path "secret/metadata/db/*" { capabilities = ["read", "list"] }
      path "sys/usage" { capabilities = ["read"] }
      path "sys/usage/*" { capabilities = ["read"] }`, 'policy', 'write', 'writer', '-');
    const token = JSON.parse(await purser.purser('token', 'create', '--policy', 'writer', '--format', 'json')) as { client_token?: string; token?: string };
    const other = await (await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 900 } })).newPage();
    await signIn(other, token.client_token ?? token.token ?? '');
    await other.goto(`${ADDRESS}/ui/#/secrets/${encodeURIComponent('secret/db/prod')}`);
    await other.getByRole('button', { name: 'Show the current value' }).click();
    await other.getByRole('alert').waitFor();
    const field = other.getByRole('textbox', { name: 'Field' });
    await field.first().fill('password');
    await other.getByLabel('New value', { exact: true }).first().fill(`${CANARY}-2`);
    await other.getByLabel(/keep the fields/).check();
    await other.getByRole('button', { name: /Write/ }).click();
    await other.getByText('wrote version 2').waitFor();
    await other.locator('.rotation .figure').filter({ hasText: '100 %' }).waitFor({ timeout: 60_000 });
    await other.getByText('Version 2 is the current one').waitFor();
    assert.equal(await docker('exec', 'web-3', 'cat', '/run/secrets/pw'), `${CANARY}-2`);
    assert.equal(await docker('exec', 'web-3', 'cat', '/run/secrets/user'), 'app', 'the other field stayed');
    await screenshot(other, 'rotated');
    await other.context().close();
  });

  test('a value is shown when the user asks, and goes away', async () => {
    await visit(`secrets/${encodeURIComponent('secret/db/prod')}`);
    await page.getByRole('button', { name: 'Show the current value' }).click();
    await page.getByText(`${CANARY}-2`).waitFor();
    await page.getByRole('button', { name: 'Hide' }).click();
    assert.equal((await page.content()).includes(CANARY), false);
  });

  for (const [view, heading] of [['', 'Overview'], ['secrets', 'Secrets'], ['containers', 'Containers'], ['nodes', 'Nodes'], ['nodes/node-1', 'node-1'], ['matrix', 'Matrix'], ['roles', 'Roles'], ['audit', 'Audit']] as const) {
    test(`the view "${heading}" is complete, accessible in light and dark, and fits a phone`, async () => {
      await visit(view);
      await page.getByRole('heading', { name: heading, level: 1 }).waitFor();
      await eventually('the data', async () => !(await page.locator('main').innerText()).includes('loading…'));
      const name = heading.toLowerCase();
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        assert.deepEqual(await accessibility(page), [], colorScheme);
        await screenshot(page, `${name}-${colorScheme}`);
      }
      await page.emulateMedia({ colorScheme: 'light' });
      await page.setViewportSize({ width: 390, height: 844 });
      assert.ok(await page.evaluate<boolean>('document.documentElement.scrollWidth <= window.innerWidth'), 'nothing sticks out sideways');
      await screenshot(page, `${name}-phone`);
      await page.setViewportSize({ width: 1280, height: 900 });
    });
  }

  test('a container shows what it holds, what was never read and who read', async () => {
    await visit('containers');
    await page.getByRole('link', { name: 'web-0', exact: true }).click();
    await page.getByRole('heading', { name: 'web-0' }).waitFor();
    await page.getByText('never read').first().waitFor();
    await page.locator('code', { hasText: '/bin/busybox' }).first().waitFor();
    await screenshot(page, 'container');
  });

  test('the audit log is searched by secret and outcome', async () => {
    await visit('audit');
    await page.getByLabel('Secret').fill('secret/db/prod');
    await page.getByLabel('Outcome').selectOption('denied');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.getByRole('row').filter({ hasText: 'secret/data/db/prod' }).filter({ hasText: 'denied' }).first().waitFor();
    assert.equal((await page.content()).includes(CANARY), false, 'the log has hashes, not values');
    await screenshot(page, 'audit-search');
  });

  test('names with markup in them stay text', async () => {
    await purser.put(`secret/db/${HOSTILE}`, { x: 'y' });
    await visit(`secrets?in=${encodeURIComponent('secret/db/')}`);
    await page.getByRole('link', { name: HOSTILE }).first().click();
    await page.getByRole('heading', { name: `secret/db/${HOSTILE}` }).waitFor();
    assert.equal(await page.locator('main img').count(), 0);
  });

  test('works with the keyboard alone', async () => {
    await visit('');
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    await page.evaluate('document.body.focus()');
    const reached = new Set<string>();
    for (let press = 0; press < 16; press++) {
      await page.keyboard.press('Tab');
      reached.add(await page.evaluate<string>('document.activeElement?.textContent ?? ""'));
    }
    for (const label of ['Secrets', 'Containers', 'Nodes', 'Matrix', 'Audit', 'Sign out']) assert.ok([...reached].some((text) => text.includes(label)), `${label} is reached by Tab`);
  });

  test('a token that ends brings the sign-in back, with the reason', async () => {
    const token = JSON.parse(await purser.purser('token', 'create', '--policy', 'writer', '--ttl', '1h', '--format', 'json')) as { client_token?: string; token?: string; accessor: string };
    const other = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
    await signIn(other, token.client_token ?? token.token ?? '');
    await purser.purserWithInput(token.client_token ?? token.token ?? '', 'token', 'revoke', '-');
    await other.getByRole('link', { name: 'Secrets' }).click();
    await other.getByText('Your token has ended').waitFor();
    await other.context().close();
  });

  test('signing out forgets the token', async () => {
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    assert.equal(await page.evaluate('JSON.stringify(Object.entries(sessionStorage))'), '[]');
    assert.deepEqual(problems, [], 'nothing was refused by the policy or failed in the page');
  });
});

// The web page in Debian's Chromium: what is sent, how long until an operator can work with it, and how long from `kv put` until the bar of
// the secret's view says 100 %, with many containers that hold it.

import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Page } from 'playwright-core';

import type { CoreClient } from '../../src/client/core-client.ts';
import { startBrowser } from '../e2e/browser.ts';
import { ADDRESS } from '../e2e/installation.ts';
import { createContainer, inParallel, removeContainer, startContainer } from './engine.ts';
import { median, printTable } from './table.ts';

const ROUNDS = 9;
const UI = resolve(import.meta.dirname, '../../dist/ui');

/** Prints the table. @param containers how many hold the rotated secret */
export async function benchPage(client: CoreClient, token: string, containers: number): Promise<void> {
  const rotate = async (value: string): Promise<void> => { await client.write('secret/data/db/page', { data: { password: value } }); };
  await rotate('start');
  const ids: string[] = [];
  await inParallel(Array.from({ length: containers }, (_, index) => index), 4, async () => {
    const id = await createContainer({ runtime: 'purser', labels: { 'purser.file.pw': 'purser://secret/db/page#password' }, command: ['sleep', '3600'] });
    ids.push(id);
    await startContainer(id);
  });
  const browser = await startBrowser();
  try {
    const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
    await signIn(page, token);
    const loads: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const began = performance.now();
      await page.reload();
      await page.locator('dd', { hasText: String(containers) }).first().waitFor();
      loads.push(performance.now() - began);
    }
    const first = await page.evaluate<number>('performance.getEntriesByType("paint").find(({ name }) => name === "first-contentful-paint")?.startTime ?? NaN');
    await page.goto(`${ADDRESS}/ui/#/secrets/${encodeURIComponent('secret/db/page')}`);
    await page.locator('.rotation .figure', { hasText: '100 %' }).waitFor();
    const full: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      await rotate(`value-${String(round)}`);
      const began = performance.now();
      await page.locator(`.rotation:has(strong:text-is("${String(round + 2)}")) .figure`, { hasText: '100 %' }).waitFor();
      full.push(performance.now() - began);
      await page.waitForTimeout(1_000);
    }
    const bytes = readdirSync(UI).reduce((sum, name) => sum + gzipSync(readFileSync(join(UI, name)), { level: 9 }).length, 0);
    printTable(`The web page, ${String(containers)} containers (${String(ROUNDS)} rounds)`, ['', 'median', 'best', 'worst'], [
      ['sent, KiB gzip', bytes / 1024, bytes / 1024, bytes / 1024],
      ['first paint of the last reload, ms', first, first, first],
      ['reload until the overview shows its figures, ms', median(loads), Math.min(...loads), Math.max(...loads)],
      ['kv put until the bar says 100 %, ms', median(full), Math.min(...full), Math.max(...full)],
    ]);
  } finally {
    await browser.close();
    await inParallel(ids, 4, removeContainer);
  }
}

async function signIn(page: Page, token: string): Promise<void> {
  await page.goto(`${ADDRESS}/ui/`);
  await page.locator('[type=password]').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
}

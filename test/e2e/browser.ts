// A real browser for the tests of the web page: Debian's Chromium, headless, driven by playwright-core. Screenshots go to test-artifacts/.

import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { chromium, type Browser, type Page, type Response } from 'playwright-core';

import { eventually } from './command.ts';

const ARTIFACTS = resolve(import.meta.dirname, '../../test-artifacts');
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const PROGRAM = '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

export interface Violation { readonly id: string; readonly impact: string | null; readonly nodes: readonly string[] }

/** Starts a browser that knows no certificate authority: the core's own is in no store, and the tests speak to no other host. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: PROGRAM, args: FLAGS });
}

/**
 * Loads the page until it shows something. Chromium drops what it is loading when an interface of the host comes or goes (net::ERR_NETWORK_CHANGED), as they do
 * while containers start.
 */
export function load(page: Page, url: string): Promise<Response> {
  return eventually('the page to load', async () => {
    const response = await page.goto(url);
    await page.locator('#app > *').first().waitFor({ timeout: 15_000 });
    return response ?? undefined;
  }, 60_000);
}

export async function screenshot(page: Page, name: string): Promise<void> {
  mkdirSync(ARTIFACTS, { recursive: true });
  await page.screenshot({ path: join(ARTIFACTS, `${name}.png`), fullPage: true });
}

/** What axe-core finds against WCAG 2.1 A and AA. The script goes in past the page's policy, as a browser extension's does. */
export async function accessibility(page: Page): Promise<Violation[]> {
  await page.evaluate(readFileSync(AXE, 'utf8'));
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run(options: object): Promise<{ violations: { id: string; impact: string | null; nodes: { html: string; failureSummary: string }[] }[] }> } };
    const { violations } = await axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] });
    return violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`) }));
  });
}

// The policy check of issue 4: one caller with 1,000 policies of 100 paths each, asked about paths of every kind. Needs no installation.

import type { AclRequest } from '../../src/policy/acl.ts';
import { compilePolicies } from '../../src/policy/policy-set.ts';
import { parsePolicy } from '../../src/policy/parse.ts';
import { percentile, printTable } from './table.ts';

const POLICIES = 1_000;
const ROUNDS = 20_000;
/** Checks timed together: one alone is shorter than the clock's own cost. */
const BATCH = 20;

/** 100 paths: exact ones, prefixes, and `+` at several depths. */
function policyText(team: number): string {
  return Array.from({ length: 25 }, (_, app) => `
    path "secret/data/team-${team}/app-${app}" { capabilities = ["read", "update"] }
    path "secret/data/team-${team}/app-${app}/*" { capabilities = ["read"] }
    path "secret/+/team-${team}/app-${app}/+/x" { capabilities = ["update"] allowed_parameters = { "data" = [] "options" = [] } }
    path "secret/+/team-${team}/+/app-${app}*" { capabilities = ["list"] }`).join('');
}

const KINDS: readonly (readonly [string, (round: number) => AclRequest])[] = [
  ['an exact path', (round) => ({ path: `secret/data/team-${round % POLICIES}/app-${round % 25}`, operation: 'read' })],
  ['a prefix', (round) => ({ path: `secret/data/team-${round % POLICIES}/app-${round % 25}/deep/er/path`, operation: 'read' })],
  ['segments with +, and parameters', (round) => ({ path: `secret/x/team-${round % POLICIES}/app-${round % 25}/y/x`, operation: 'update', data: { data: 'v', options: 'w' } })],
  ['a list', (round) => ({ path: `secret/x/team-${round % POLICIES}/y/app-${round % 25}`, operation: 'list' })],
  ['no rule: denied', (round) => ({ path: `other/data/team-${round % POLICIES}/app-${round % 25}/deep/path`, operation: 'read' })],
  ['a path of 1,000 characters: denied', (round) => ({ path: `secret/data/${round}/${'x'.repeat(990)}`, operation: 'read' })],
];

/** Prints the table. */
export function benchPolicyCheck(): void {
  const heapBefore = process.memoryUsage().heapUsed;
  const policies = Array.from({ length: POLICIES }, (_, team) => parsePolicy(`team-${team}`, policyText(team)));
  const start = process.hrtime.bigint();
  const set = compilePolicies(policies);
  const acl = set.for(undefined);
  const compileMs = Number(process.hrtime.bigint() - start) / 1e6;
  const changes = Array.from({ length: 100 }, (_, team) => {
    const changed = parsePolicy(`team-${team}`, `${policyText(team)} path "more/team-${team}" { capabilities = ["read"] }`);
    const before = process.hrtime.bigint();
    set.set(changed.name, changed);
    return Number(process.hrtime.bigint() - before) / 1e6;
  });
  const rows = KINDS.map(([kind, request]) => {
    const samples: number[] = [];
    for (let round = 0; round < ROUNDS; round += BATCH) {
      const requests = Array.from({ length: BATCH }, (_, index) => request(round + index));
      const before = process.hrtime.bigint();
      for (const one of requests) acl.check(one);
      samples.push(Number(process.hrtime.bigint() - before) / 1_000 / BATCH);
    }
    return [kind, percentile(samples, 0.5), percentile(samples, 0.99)];
  });
  printTable(`Policy check, ${POLICIES.toLocaleString('en')} policies of 100 paths each in one set, µs (goal: below 50)`, ['asked about', 'median', 'p99'], rows);
  process.stdout.write(`\ncompiled once per set in ${compileMs.toFixed(0)} ms, in pieces; a changed policy is in force after ${percentile(changes, 0.5).toFixed(2)} ms (worst ${Math.max(...changes).toFixed(2)}); ${((process.memoryUsage().heapUsed - heapBefore) / 1e6).toFixed(0)} MB of heap\n`);
}

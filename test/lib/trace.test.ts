// Trace ids: what is taken from a client's header, and what goes along with calls and log lines.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';

import { currentTrace, traced, traceIdOf, traceparent } from '../../src/lib/trace.ts';

const ID = '4bf92f3577b34da6a3ce929d0e0e4736';

test('traceIdOf() takes the trace id of a well-formed traceparent, and nothing else', () => {
  for (const [header, expected] of [
    [`00-${ID}-00f067aa0ba902b7-01`, ID],
    [`00-${ID}-00f067aa0ba902b7-00`, ID],
    [`cc-${ID}-00f067aa0ba902b7-01-what-the-future-will-be-like`, ID],
    [`00-${ID}-00f067aa0ba902b7-01-more`, undefined],
    [`ff-${ID}-00f067aa0ba902b7-01`, undefined],
    [`00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, undefined],
    [`00-${ID}-${'0'.repeat(16)}-01`, undefined],
    [`00-${ID.toUpperCase()}-00f067aa0ba902b7-01`, undefined],
    [`00-${ID}-00f067aa0ba902b7-01, 00-${ID}-00f067aa0ba902b7-01`, undefined],
    [`cc-${ID}-00f067aa0ba902b7-01-${'x'.repeat(500)}`, undefined],
    ['', undefined], ['hvs.token', undefined], [undefined, undefined],
  ] as const) assert.equal(traceIdOf(header), expected, String(header));
});

test('traced() gives everything it starts one id, which traceparent() sends and nobody else has', async () => {
  assert.equal(traceparent(), undefined);
  const ids = await Promise.all([1, 2].map(() => traced(async () => {
    const before = currentTrace();
    await sleep(1);
    assert.equal(traceIdOf(traceparent()), before);
    return currentTrace();
  })));
  assert.equal(new Set(ids).size, 2);
  assert.equal(currentTrace(), undefined);
});

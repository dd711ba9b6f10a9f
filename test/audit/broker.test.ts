// AuditBroker: no device, no rule; with devices, one must take the entry.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AuditBroker } from '../../src/audit/broker.ts';
import type { AuditDevice } from '../../src/audit/device.ts';
import { sampleEntry } from './sample.ts';

type Behaviour = 'takes' | 'rejects' | 'throws';

function device(behaviour: Behaviour, logged: string[], name: string): AuditDevice {
  return {
    type: 'test',
    log(type) {
      logged.push(`${name}:${type}`);
      if (behaviour === 'throws') throw new Error('sync');
      return behaviour === 'takes' ? Promise.resolve() : Promise.reject(new Error('async'));
    },
    hmacString: (value) => value,
    reopen: async () => { if (behaviour !== 'takes') throw new Error('reopen'); logged.push(`${name}:reopened`); },
    close: async () => { logged.push(`${name}:closed`); },
  };
}

for (const { devices, accepted } of [
  { devices: [], accepted: true }, { devices: ['takes'], accepted: true }, { devices: ['rejects'], accepted: false }, { devices: ['throws'], accepted: false },
  { devices: ['rejects', 'takes'], accepted: true }, { devices: ['takes', 'throws'], accepted: true }, { devices: ['throws', 'rejects'], accepted: false },
] as { devices: Behaviour[]; accepted: boolean }[]) {
  test(`request() and response() are ${accepted ? 'accepted' : 'refused'} with devices [${devices.join(', ')}]`, async () => {
    const logged: string[] = [];
    const failed: string[] = [];
    const broker = new AuditBroker((name) => { failed.push(name); });
    devices.forEach((behaviour, i) => { broker.enable(`d${i}`, device(behaviour, logged, `d${i}`)); });
    for (const attempt of [() => broker.request(sampleEntry()), () => broker.response(sampleEntry())]) {
      if (accepted) await attempt();
      else await assert.rejects(attempt(), { code: 'ERR_AUDIT_REFUSED' });
    }
    assert.equal(logged.length, devices.length * 2, 'every device is tried');
    assert.equal(failed.length, devices.filter((behaviour) => behaviour !== 'takes').length * 2, 'every failure is reported');
  });
}

test('enable() refuses a name in use; disable() closes the device', async () => {
  const logged: string[] = [];
  const broker = new AuditBroker();
  broker.enable('file', device('takes', logged, 'a'));
  assert.throws(() => { broker.enable('file', device('takes', logged, 'b')); }, { code: 'ERR_REQUEST_INVALID' });
  assert.deepEqual([await broker.disable('file'), await broker.disable('file'), broker.list().size], [true, false, 0]);
  assert.deepEqual(logged, ['a:closed']);
});

test('reopen() reaches every device and reports the one that failed; close() closes all', async () => {
  const logged: string[] = [];
  const broker = new AuditBroker();
  broker.enable('a', device('rejects', logged, 'a'));
  broker.enable('b', device('takes', logged, 'b'));
  await assert.rejects(broker.reopen(), { message: 'reopen' });
  await broker.close();
  assert.deepEqual(logged, ['b:reopened', 'a:closed', 'b:closed']);
  assert.equal(broker.list().size, 0);
});

test('response() is refused after close(): a request that outlived the seal is not answered without its entry', async () => {
  const broker = new AuditBroker();
  broker.enable('a', device('takes', [], 'a'));
  await broker.request(sampleEntry());
  await broker.close();
  await assert.rejects(broker.response(sampleEntry()), { code: 'ERR_AUDIT_REFUSED' });
});

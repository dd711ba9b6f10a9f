// A device that fails among several fails with every entry; the log hears of it at once and then in intervals, with a count.

import type { Logger } from 'pino';
import type { DeviceFailureListener } from '../audit/broker.ts';
import { messageOf } from '../lib/errors.ts';

const INTERVAL_MS = 10_000;

export function failureReporter(log: Logger, now: () => number): DeviceFailureListener {
  const silent = new Map<string, { until: number; refused: number }>();
  return (device, error) => {
    const known = silent.get(device);
    if (known !== undefined && now() < known.until) {
      known.refused++;
      return;
    }
    log.error({ device, refused: 1 + (known?.refused ?? 0), reason: messageOf(error) }, 'an audit device refuses entries');
    silent.set(device, { until: now() + INTERVAL_MS, refused: 0 });
  };
}

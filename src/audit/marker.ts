// Lines that the device itself writes: where a file begins, and what a crash tore (FORMAT.md 1).

import { z } from 'zod';

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const markerSchema = z.object({
  type: z.literal('marker'),
  marker: z.discriminatedUnion('event', [
    z.strictObject({ event: z.literal('begin'), previous: hash, reason: z.enum(['created', 'rotated', 'replaced']) }),
    z.strictObject({ event: z.literal('torn'), bytes: z.int().positive(), sha256: hash }),
  ]),
});

export type Marker = z.infer<typeof markerSchema>['marker'];

export function renderMarker(marker: Marker, timeMs: number): string {
  return JSON.stringify({ time: new Date(timeMs).toISOString(), type: 'marker', marker });
}

/** The marker in the body of a line, or undefined when it is an ordinary entry. */
export function parseMarker(body: Uint8Array): Marker | undefined {
  // Entries can be large and never begin like this: their type is another one.
  if (!/^\{"time":"[^"]*","type":"marker"/.test(Buffer.from(body).toString('latin1', 0, 64))) return undefined;
  try {
    return markerSchema.parse(JSON.parse(Buffer.from(body).toString())).marker;
  } catch {
    return undefined;
  }
}

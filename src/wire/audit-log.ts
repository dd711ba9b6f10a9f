// What `sys/audit/tail` sends (PROTOCOL.md 5): one JSON object per line.

import { z } from 'zod';

/** Longest line, in bytes. */
export const MAX_TAIL_LINE_BYTES = 65_536;
/** A tail that is silent longer is dead; heartbeats come every 10. */
export const TAIL_SILENCE_SECONDS = 30;

export const tailFrameSchema = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('entry'), entry: z.record(z.string(), z.unknown()) }),
  z.looseObject({ type: z.literal('lost'), count: z.number() }),
  z.looseObject({ type: z.literal('heartbeat') }),
]);
export type TailFrame = z.infer<typeof tailFrameSchema>;

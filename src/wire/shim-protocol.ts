// The request line that purser-runtime sends to the agent (PROTOCOL.md section 2). Strict: unknown keys, wrong ids and
// relative paths are refused, because the socket is the one way from a container start into the agent.

import { z } from 'zod';

/** Longest request line in bytes, the newline included. */
export const MAX_SHIM_LINE_BYTES = 65_536;

const containerId = z.string().regex(/^[0-9a-f]{64}$/);
const absolutePath = z.string().min(2).max(4096).startsWith('/').refine((path) => !path.includes('\0'));

export const shimRequestSchema = z.discriminatedUnion('verb', [
  z.strictObject({ v: z.literal(1), verb: z.literal('create'), id: containerId, bundle: absolutePath }),
  z.strictObject({ v: z.literal(1), verb: z.literal('start'), id: containerId }),
  z.strictObject({ v: z.literal(1), verb: z.literal('exec'), id: containerId, process: absolutePath }),
  z.strictObject({ v: z.literal(1), verb: z.literal('deleted'), id: containerId }),
]);

export type ShimRequest = z.infer<typeof shimRequestSchema>;

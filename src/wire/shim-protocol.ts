// The request line that purser-runtime sends to the agent (PROTOCOL.md section 2). Strict: unknown keys, wrong ids and
// relative paths are refused, because the socket is the one way from a container start into the agent.

import { Buffer } from 'node:buffer';
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

/** Largest part of references in a `strict` answer, as in src/shim/environment.h. */
export const MAX_REFERENCES_BYTES = 1 << 20;

const REMOVED = 0xffff_ffff;
const HEAD_BYTES = 8;

/** What a process gets. All of it holds values, or may, and is erased by whoever sends it. */
export interface ProcessEnvironment {
  readonly values: Uint8Array;
  /** What the kernel is to show instead of the values in child processes (`purser.env=strict`). */
  readonly references?: Uint8Array | undefined;
}

/** The line before the bytes. */
export function environmentLine({ values, references }: ProcessEnvironment): string {
  return references === undefined ? `environment ${values.length}` : `strict ${values.length} ${references.length}`;
}

export function eraseEnvironment(environment: ProcessEnvironment | undefined): void {
  environment?.values.fill(0);
  // A reference's default may be a secret.
  environment?.references?.fill(0);
}

/**
 * The body of an `environment` answer, or one part of a `strict` one. In memory of its own: it holds values, and the caller erases it.
 * @param variables names and values; undefined removes the variable
 */
export function encodeEnvironment(variables: readonly (readonly [name: string, value: Uint8Array | undefined])[]): Uint8Array {
  const named = variables.map(([name, value]) => [Buffer.from(name), value] as const);
  const body = Buffer.allocUnsafeSlow(named.reduce((sum, [name, value]) => sum + HEAD_BYTES + name.length + (value?.length ?? 0), 0));
  let at = 0;
  for (const [name, value] of named) {
    at = body.writeUInt32LE(name.length, at);
    at = body.writeUInt32LE(value?.length ?? REMOVED, at);
    body.set(name, at);
    body.set(value ?? [], at + name.length);
    at += name.length + (value?.length ?? 0);
  }
  return body;
}

// The text of a join token (PROTOCOL.md 1.1): `purser-join-1.` and base64url of a JSON object. It carries a secret, so no
// error quotes it. One spelling per token: what does not encode back to itself is refused.

import { z } from 'zod';

import { PurserError } from '../lib/errors.ts';

const PREFIX = 'purser-join-1.';
const MAX_LENGTH = 4096;

const joinTokenSchema = z.strictObject({
  /** Where the core is. */
  address: z.url({ protocol: /^https?$/ }),
  /** SHA-256 of the CA certificate's DER in lower-case hexadecimal; absent for a plain-HTTP core on loopback. */
  ca: z.string().regex(/^[0-9a-f]{64}$/).optional(),
  id: z.string().regex(/^[A-Za-z0-9_-]{1,128}$/),
  secret: z.string().regex(/^[A-Za-z0-9_-]{1,128}$/),
});
export type JoinToken = z.infer<typeof joinTokenSchema>;

/** The text an operator carries to the new node. */
export function encodeJoinToken(token: JoinToken): string {
  return PREFIX + Buffer.from(JSON.stringify(token), 'utf8').toString('base64url');
}

/** @throws ERR_NODE_JOIN when the text is not a join token, an incomplete one, or one of another format */
export function decodeJoinToken(text: string): JoinToken {
  const trimmed = text.trim();
  if (trimmed.length > MAX_LENGTH || !trimmed.startsWith(PREFIX)) throw malformed();
  const encoded = trimmed.slice(PREFIX.length);
  const json = Buffer.from(encoded, 'base64url');
  if (json.toString('base64url') !== encoded) throw malformed();
  try {
    const token = joinTokenSchema.parse(JSON.parse(json.toString('utf8')));
    if (token.ca === undefined && token.address.startsWith('https:')) throw malformed();
    return token;
  } catch {
    throw malformed();
  }
}

function malformed(): PurserError {
  return new PurserError('ERR_NODE_JOIN', 'this is not a complete join token', { hint: 'copy the whole line that purser node token printed, or make a new one' });
}

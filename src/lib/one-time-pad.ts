// A text under a one-time pad of the same length, as Vault's generate-root hands a token out: base64 without padding of text XOR
// pad (vault/generate_root.go). Server and command line share it.

import { PurserError } from './errors.ts';

/** @throws RangeError when the lengths differ */
export function padText(text: string, pad: string): string {
  return xor(Buffer.from(text, 'utf8'), Buffer.from(pad, 'utf8')).toString('base64').replace(/=+$/, '');
}

/** The text that padText() covered. @throws ERR_REQUEST_INVALID when it cannot be one: not base64, or of another length than the pad */
export function unpadText(covered: string, pad: string): string {
  const bytes = Buffer.from(covered, 'base64');
  if (bytes.toString('base64').replace(/=+$/, '') !== covered.replace(/=+$/, '') || bytes.length !== Buffer.byteLength(pad)) {
    throw new PurserError('ERR_REQUEST_INVALID', 'the encoded token and the one-time password do not belong together', { hint: 'give both as generate-root printed them' });
  }
  return xor(bytes, Buffer.from(pad, 'utf8')).toString('utf8');
}

function xor(a: Buffer, b: Buffer): Buffer {
  if (a.length !== b.length) throw new RangeError('a one-time pad is as long as its text');
  return Buffer.from(a.map((byte, index) => byte ^ b[index]!));
}

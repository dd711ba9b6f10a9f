// The bytes of a value on their way from the core to the filesystem. In memory of their own, never in Node's shared buffer
// pool: a pooled buffer cannot be wiped alone, and sending it to a worker would copy its neighbours along.

/** @param text base64, validated before */
export function bytesOfValue(text: string): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text, 'base64'));
  bytes.write(text, 'base64');
  return bytes;
}

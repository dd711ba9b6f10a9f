// Random bytes from the operating system's generator, each array with memory of its own: a slice of Node's shared pool could
// be neither wiped alone nor kept from other code that walks `.buffer`.

import { randomFillSync } from 'node:crypto';

export function randomBytes(length: number): Uint8Array {
  return randomFillSync(new Uint8Array(length));
}

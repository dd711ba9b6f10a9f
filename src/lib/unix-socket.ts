// Listening on unix sockets. A path that is left over from a killed process refuses connections and may be replaced; one
// that answers belongs to somebody and may not. A socket is never open to others, not even between bind and chmod.

import { connect } from 'node:net';
import type { Server } from 'node:net';
import { unlink } from 'node:fs/promises';
import { PurserError } from './errors.ts';

/**
 * Listens on `path` with mode 0600, in place of a socket that nobody listens on.
 * @throws ERR_STATE_LOCKED when somebody listens there
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  if (await isListening(path)) throw new PurserError('ERR_STATE_LOCKED', `another process listens on ${path}`, { hint: 'stop it first, or choose another path' });
  await unlink(path).catch(() => undefined);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // listen() binds before it returns, so the closed umask covers exactly the creation of the socket.
    const umask = process.umask(0o177);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
    process.umask(umask);
  });
}

/** True when a connection to `path` is accepted within a second. */
export function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const finish = (answer: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    // Too busy to accept in time still means that somebody is there.
    const timer = setTimeout(() => finish(true), 1000);
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
}

// Whether something listens on a unix socket of this host.

import { connect } from 'node:net';

const SOCKET_MILLISECONDS = 5_000;

/** @returns what went wrong, or undefined when something listens */
export function tryConnect(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path, () => { socket.destroy(); resolve(undefined); });
    socket.setTimeout(SOCKET_MILLISECONDS, () => { socket.destroy(); resolve('it does not answer'); });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

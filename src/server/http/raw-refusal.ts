// Answers on a socket whose request could not be parsed: a status line, a JSON body in Vault's error shape, then the end.

import type { Duplex } from 'node:stream';

const REFUSALS: Readonly<Record<string, readonly [status: string, message: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'the request took too long to arrive'],
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'the request headers are too large'],
};

/** How long a client may take to fetch the refusal, in milliseconds: nothing else watches a connection whose parser gave up. */
const LINGER_MILLISECONDS = 10_000;

/**
 * Refuses what arrived on `socket` and closes it.
 * @param code the parser's error code; decides the status (400 when unknown)
 */
export function refuseRaw(socket: Duplex, code: string | undefined): void {
  const message = (socket as { _httpMessage?: { headersSent: boolean } | null })._httpMessage;
  // Before a TLS handshake is over nothing can be said: what is written waits for its end, which may never come.
  const isHttp = code === undefined || code.startsWith('HPE_') || code.startsWith('ERR_HTTP_');
  if (!isHttp || !socket.writable || message?.headersSent === true) { socket.destroy(); return; }
  const cut = setTimeout(() => socket.destroy(), LINGER_MILLISECONDS).unref();
  socket.once('close', () => clearTimeout(cut));
  const [status, text] = REFUSALS[code ?? ''] ?? ['400 Bad Request', 'the request is not valid HTTP'];
  const body = JSON.stringify({ errors: [text] });
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n`
    + `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`, () => socket.destroy());
}

// An HTTP server for Docker's legacy plugin protocol (moby: pkg/plugins/client.go).

import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';

/**
 * A server that takes one call per connection. Docker keeps connections that it may reuse, which goes wrong in two ways: a kept one outlives
 * the path it was opened by, so the next call goes to whoever answered there before; and when a kept one closes under a call, Docker sends the
 * call again with its body missing, because it has read the body's buffer to the end.
 */
export function pluginServer(listener: RequestListener): Server {
  // Docker 20.10 sends an empty Host header.
  const server = createServer({ requireHostHeader: false }, (request, response) => {
    // Else Node waits five seconds for the other side to close.
    response.setHeader('Connection', 'close');
    listener(request, response);
  });
  server.maxRequestsPerSocket = 1;
  return server;
}

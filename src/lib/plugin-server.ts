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
  return createServer({ requireHostHeader: false }, (request, response) => {
    response.setHeader('Connection', 'close');
    listener(request, response);
  });
}

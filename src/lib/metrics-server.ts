// Where agent and driver are scraped and asked whether they are well: a unix socket (0600) or a port of this host, never a
// network, because names of what runs here are nobody else's business. GET /metrics, /health (the process runs) and /ready.

import { createServer, type Server } from 'node:http';

import { PurserError } from './errors.ts';
import { METRICS_CONTENT_TYPE, type Metrics } from './metrics.ts';
import { listenOnSocket } from './unix-socket.ts';

export interface MetricsServerOptions {
  /** `unix:/path` or `127.0.0.1:PORT`. */
  readonly listen: string;
  readonly metrics: Metrics;
  /** Undefined when the program does its work, else why it cannot. */
  readonly notReady: () => string | undefined;
}

/** @throws ERR_CONFIG_INVALID, ERR_STATE_LOCKED */
export async function serveMetrics(options: MetricsServerOptions): Promise<{ close(): Promise<void> }> {
  const server = createServer({ requireHostHeader: false, headersTimeout: 5_000, requestTimeout: 5_000, keepAliveTimeout: 5_000 }, (request, response) => {
    const answer = (status: number, text: string, type = 'text/plain; charset=utf-8') => response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(text);
    if (request.method !== 'GET') return void answer(405, 'only GET\n');
    switch (request.url) {
      case '/metrics': return void options.metrics.text().then((text) => answer(200, text, METRICS_CONTENT_TYPE), () => answer(500, 'the metrics could not be read\n'));
      case '/health': return void answer(200, 'ok\n');
      case '/ready': {
        const reason = options.notReady();
        return void answer(reason === undefined ? 200 : 503, `${reason ?? 'ok'}\n`);
      }
      default: return void answer(404, 'there are /metrics, /health and /ready\n');
    }
  });
  server.maxConnections = 32;
  await listen(server, options.listen);
  return {
    close: () => new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
  };
}

async function listen(server: Server, where: string): Promise<void> {
  if (where.startsWith('unix:/')) return listenOnSocket(server, where.slice('unix:'.length));
  const match = /^(127\.0\.0\.1|\[::1\]|localhost):(\d{1,5})$/.exec(where);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) throw new PurserError('ERR_CONFIG_INVALID', '--metrics takes unix:/PATH or 127.0.0.1:PORT', { hint: 'other addresses are not offered: let a collector on this host pass the metrics on' });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(new PurserError('ERR_CONFIG_INVALID', `cannot serve metrics on ${where}: ${error.code ?? 'unknown error'}`, { hint: 'give another --metrics', cause: error })));
    server.listen({ host: (match[1] as string).replace(/[[\]]/g, ''), port }, resolve);
  });
}

// The agent's plugin socket: Docker's calls for volumes, from Docker itself by way of the link, or handed on by the driver.

import type { RequestListener } from 'node:http';
import type { Logger } from 'pino';
import { withDeadline } from '../../lib/deadline.ts';
import { pluginServer } from '../../lib/plugin-server.ts';
import { listenOnSocket } from '../../lib/unix-socket.ts';
import { PluginLink } from './plugin-link.ts';

const CLOSE_MS = 5000;

export interface PluginServer {
  /** Takes the link away and lets calls under way end. */
  close(): Promise<void>;
}

/**
 * @param path the agent's own socket (0600)
 * @param link where Docker looks; undefined: nowhere
 * @throws ERR_STATE_LOCKED when somebody listens on `path`
 */
export async function servePlugin(listener: RequestListener, path: string, link: string | undefined, log: Logger): Promise<PluginServer> {
  const server = pluginServer(listener);
  await listenOnSocket(server, path);
  const linked = link === undefined ? undefined : new PluginLink(link, path, log);
  await linked?.start();
  return {
    async close() {
      await linked?.stop();
      const closed = new Promise<void>((resolve) => { server.close(() => resolve()); });
      server.closeIdleConnections();
      await withDeadline(closed, CLOSE_MS, () => new Error('calls are still under way')).catch(() => { server.closeAllConnections(); });
    },
  };
}

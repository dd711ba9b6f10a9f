// Calls for volumes that come to the driver, because Docker knows one plugin `purser` by one socket (wire/plugin.ts): handed on to the
// agent of this host as they are. Without an agent there are no volumes here.

import { request } from 'node:http';
import type { Request, RequestHandler, Response } from 'express';
import { DOCKER_PLUGIN_TYPE } from '../wire/plugin.ts';

/** Longer than the agent takes; Docker's own limit is two minutes. */
const TIMEOUT_MS = 60_000;
const NO_AGENT = 'purser: no agent runs on this host, and it is the agent that serves volumes (start purser agent)';
/** Docker asks every volume driver for these, whoever wants to know. */
const WITHOUT_AGENT: Readonly<Record<string, object>> = {
  '/VolumeDriver.List': { Volumes: [], Err: '' },
  '/VolumeDriver.Capabilities': { Capabilities: { Scope: 'local' } },
};

/** @param agentSocket the agent's plugin socket; the request's body is read as text already */
export function volumeRelay(agentSocket: string): RequestHandler {
  return (incoming: Request, response: Response): void => {
    response.set('Content-Type', DOCKER_PLUGIN_TYPE);
    const body = typeof incoming.body === 'string' ? incoming.body : '';
    const call = request({ socketPath: agentSocket, path: incoming.path, method: 'POST', timeout: TIMEOUT_MS, headers: { 'Content-Length': Buffer.byteLength(body) } }, (answer) => {
      response.status(answer.statusCode ?? 500);
      answer.on('error', () => { response.destroy(); });
      answer.pipe(response);
    });
    call.on('timeout', () => { call.destroy(new Error('no answer')); });
    call.on('error', () => {
      if (response.headersSent) response.destroy();
      else response.status(200).send(JSON.stringify(WITHOUT_AGENT[incoming.path] ?? { Err: NO_AGENT }));
    });
    call.end(body);
  };
}

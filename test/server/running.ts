// A real server on an ephemeral port for the tests of this folder, and a plain HTTP client that shows exactly what was sent.

import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { loadConfig } from '../../src/server/config.ts';
import { startServer, type RunningServer } from '../../src/server/server.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The JSON body; an empty object when there is none. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests look into bodies of any shape
  readonly body: any;
}

export interface CallOptions {
  readonly token?: string | undefined;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export const silent = pino({ level: 'silent' });

/** One call below `/v1/`; the path is sent as given. A string or Buffer body is sent as it is, anything else as JSON. */
export function call(address: string, method: string, path: string, options: CallOptions = {}): Promise<Answer> {
  const { token, body, headers } = options;
  const content = body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(address);
    const outgoing = httpRequest({
      host: hostname, port, method: method === 'LIST' ? 'GET' : method, path: `/v1/${path}${method === 'LIST' ? '?list=true' : ''}`, agent: false,
      headers: { ...(token === undefined ? {} : { 'X-Vault-Token': token }), ...(content === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(content)) }), ...headers },
    }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode!, headers: response.headers, text, body: (text === '' ? {} : JSON.parse(text)) as unknown });
      });
      response.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end(content);
  });
}

export interface TestServer {
  readonly server: RunningServer;
  readonly directory: string;
  readonly root: string;
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  stop(): Promise<void>;
}

/** A new temporary directory with mode 0700, and what removes it. */
export function temporaryDirectory(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'purser-server-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** An unsealed server with a root token, in memory or in `options.dataDir`; audit goes to a file in a temporary directory. */
export async function startUnsealed(options: { readonly audit?: boolean; readonly now?: () => number; readonly engines?: Parameters<typeof startServer>[4] } = {}): Promise<TestServer> {
  const { path: directory, remove } = temporaryDirectory();
  const root = 'test-root-token';
  const server = await startServer(loadConfig({
    dev: true, devRootToken: root, listen: '127.0.0.1:0', ...(options.audit === false ? {} : { auditFile: join(directory, 'audit', 'audit.log') }),
  }), silent, options.now, undefined, options.engines);
  return {
    server, directory, root,
    call: (method, path, more = {}) => call(server.address, method, path, { token: root, ...more }),
    stop: async () => { await server.close(); remove(); },
  };
}

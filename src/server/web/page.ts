// Serves the web page: the few files that the build left in `ui/` beside the program, each with headers that let it load nothing but itself.
// It holds no secret and knows no token: the page asks the same API as any other client.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import express, { type Request, type Response } from 'express';

const PREFIX = '/ui/';
const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml' };

/** Nothing inline, nothing from elsewhere, in no frame; text never becomes markup (CSP Level 3, Trusted Types). */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
  "require-trusted-types-for 'script'", "trusted-types 'none'",
].join('; ');

const HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': CONTENT_SECURITY_POLICY,
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=(), usb=()',
};

interface Asset {
  readonly type: string;
  readonly tag: string;
  /** By content coding. */
  readonly bodies: Readonly<Record<'br' | 'gzip' | 'identity', Buffer>>;
  /** Its name changes with its content. */
  readonly isImmutable: boolean;
}

/** Answers requests for paths outside the API. */
export type PageHandler = (request: IncomingMessage, response: ServerResponse) => void;

/**
 * Reads the page into memory, compressed once.
 * @param directory what `npm run build` made: `index.html` and files with a hash in their name
 * @throws the file system's error when it is not there
 */
export function createPage(directory: string): PageHandler {
  const assets = new Map(readdirSync(directory).map((name) => [name, loadAsset(directory, name)]));
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.enable('strict routing');
  app.get(['/', '/ui'], (_request, response) => { response.set(HEADERS).redirect(308, PREFIX); });
  app.get(/^\/ui\//, (request, response) => { serve(assets.get(request.path.slice(PREFIX.length) || 'index.html'), request, response); });
  app.use((_request, response) => { response.status(404).set(HEADERS).json({ errors: [] }); });
  // Express knows an error handler by its four parameters.
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  app.use((_error: unknown, _request: Request, response: Response, _next: unknown) => { response.status(400).set(HEADERS).json({ errors: ['the request is not valid'] }); });
  return (request, response) => { app(request, response); };
}

function loadAsset(directory: string, name: string): Asset {
  const identity = readFileSync(join(directory, name));
  return {
    type: TYPES[extname(name)] ?? 'application/octet-stream',
    tag: `"${createHash('sha256').update(identity).digest('base64url').slice(0, 22)}"`,
    bodies: { identity, gzip: gzipSync(identity, { level: 9 }), br: brotliCompressSync(identity) },
    isImmutable: /-[A-Z0-9]{8}\.[a-z]+$/.test(name),
  };
}

function serve(asset: Asset | undefined, request: Request, response: Response): void {
  response.set(HEADERS);
  if (asset === undefined) { response.status(404).json({ errors: [] }); return; }
  response.set({ ETag: asset.tag, Vary: 'Accept-Encoding', 'Cache-Control': asset.isImmutable ? 'public, max-age=31536000, immutable' : 'no-cache' });
  if (request.headers['if-none-match'] === asset.tag) { response.status(304).end(); return; }
  const coding = (request.acceptsEncodings('br', 'gzip', 'identity') || 'identity') as keyof Asset['bodies'];
  if (coding !== 'identity') response.set('Content-Encoding', coding);
  response.set({ 'Content-Type': asset.type, 'Content-Length': String(asset.bodies[coding].length) });
  response.end(request.method === 'HEAD' ? undefined : asset.bodies[coding]);
}

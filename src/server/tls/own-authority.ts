// The server's own CA and certificate, kept under `<data>/tls/`: ca.pem (0644, clients pin it), ca-key.pem and server.pem
// (0600; the latter holds key and certificate together, so a renewal replaces one file). The folder appears whole, by one
// rename, at the very first start. Later anything missing, altered or not fitting is refused: a CA that was silently made
// anew would lock out every node that pinned the old one.

import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { constants, existsSync } from 'node:fs';
import { chmod, mkdir, open, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { syncDirectory, writeFileAtomic } from '../../lib/atomic-file.ts';
import { messageOf, PurserError } from '../../lib/errors.ts';
import type { Issued } from './certificate.ts';

const RENEW_BEFORE_MILLISECONDS = 30 * 86_400_000;
const MAX_FILE_BYTES = 65_536;
const NAME = /^[a-z0-9._*:-]+$/;
const ANY_ADDRESS = ['0.0.0.0', '::'];
const ALWAYS = ['localhost', '127.0.0.1', '::1'];

export interface ServerIdentity {
  readonly certificate: string;
  readonly key: string;
  /** PEM of the CA that clients trust; undefined for certificates given by the operator. */
  readonly authority: string | undefined;
  readonly authorityPath: string | undefined;
}

/**
 * Loads the server's identity below `dataDirectory`, or makes it at the first start; renews the server certificate when
 * it has less than 30 days left or its names changed.
 * @param names listen address, public host and configured names; localhost and this host's name are always in
 * @throws ERR_STATE_CORRUPT when something is there but cannot be used
 */
export async function ownIdentity(dataDirectory: string, names: readonly string[], now: number): Promise<ServerIdentity> {
  const directory = join(dataDirectory, 'tls');
  const wanted = [...new Set([...ALWAYS, hostname(), ...names].map((name) => name.toLowerCase()))].filter((name) => NAME.test(name) && !ANY_ADDRESS.includes(name));
  if (!existsSync(directory)) await create(dataDirectory, directory, wanted, now);
  const authority = await readAuthority(directory, now);
  let server = await readServer(directory, authority.certificate);
  if (isDue(server.certificate, wanted, now)) {
    const { issueServerCertificate } = await import('./certificate.ts');
    await writeFileAtomic(join(directory, 'server.pem'), bundle(await issueServerCertificate(authority, wanted, now)), { mode: 0o600 });
    server = await readServer(directory, authority.certificate);
  }
  return { certificate: server.certificate.toString(), key: server.key, authority: authority.certificate.toString(), authorityPath: join(directory, 'ca.pem') };
}

async function create(dataDirectory: string, directory: string, names: readonly string[], now: number): Promise<void> {
  const fresh = `${directory}.new`;
  await rm(fresh, { recursive: true, force: true }); // of a start that did not get as far as the rename
  await mkdir(fresh, { mode: 0o700 });
  // Loaded only when there is something to issue: the library is large, and most starts need none of it.
  const { issueAuthority, issueServerCertificate } = await import('./certificate.ts');
  const authority = await issueAuthority(now);
  const issuer = { certificate: new X509Certificate(authority.certificate), key: createPrivateKey(authority.key) };
  await writeFileAtomic(join(fresh, 'ca-key.pem'), authority.key, { mode: 0o600 });
  await writeFileAtomic(join(fresh, 'server.pem'), bundle(await issueServerCertificate(issuer, names, now)), { mode: 0o600 });
  await writeFileAtomic(join(fresh, 'ca.pem'), authority.certificate, { mode: 0o644 });
  await chmod(fresh, 0o700);
  await rename(fresh, directory);
  await syncDirectory(dataDirectory);
}

async function readAuthority(directory: string, now: number): Promise<{ certificate: X509Certificate; key: KeyObject }> {
  const path = join(directory, 'ca.pem');
  const certificate = parse(path, await readState(path, 'public'), (text) => new X509Certificate(text));
  const keyPath = join(directory, 'ca-key.pem');
  const key = parse(keyPath, await readState(keyPath, 'private'), (text) => createPrivateKey(text));
  if (!certificate.ca || !certificate.checkPrivateKey(key)) throw corrupt(keyPath, 'it is not the key of ca.pem');
  if (Date.parse(certificate.validTo) <= now) throw corrupt(path, 'the CA has expired');
  return { certificate, key };
}

async function readServer(directory: string, authority: X509Certificate): Promise<{ certificate: X509Certificate; key: string }> {
  const path = join(directory, 'server.pem');
  const text = await readState(path, 'private');
  const [key, certificate] = parse(path, text, () => [createPrivateKey(text), new X509Certificate(text.slice(text.indexOf('-----BEGIN CERTIFICATE-----')))] as const);
  if (!certificate.checkPrivateKey(key)) throw corrupt(path, 'key and certificate do not belong together');
  if (!certificate.verify(authority.publicKey)) throw corrupt(path, 'the certificate was not issued by ca.pem');
  return { certificate, key: key.export({ format: 'pem', type: 'pkcs8' }) as string };
}

function isDue(certificate: X509Certificate, wanted: readonly string[], now: number): boolean {
  const names = (certificate.subjectAltName ?? '').split(', ').map((entry) => entry.replace(/^(?:DNS|IP Address):/, ''));
  return Date.parse(certificate.validTo) - now < RENEW_BEFORE_MILLISECONDS || comparable(names) !== comparable(wanted);
}

/** IPv6 in its canonical form: OpenSSL and people write it differently. */
function comparable(names: readonly string[]): string {
  return names.map((name) => (isIP(name) === 6 ? new URL(`http://[${name}]`).hostname : name.toLowerCase())).sort().join();
}

function bundle(issued: Issued): string {
  return `${issued.key}${issued.certificate}`;
}

async function readState(path: string, kind: 'public' | 'private'): Promise<string> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.size === 0 || stat.size > MAX_FILE_BYTES) throw new Error('it is not a file of a sensible size');
      if (kind === 'private' && (stat.mode & 0o077) !== 0) throw new Error('it is open to other users');
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (error) {
    throw corrupt(path, (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'it is missing' : messageOf(error));
  }
}

function parse<T>(path: string, text: string, read: (text: string) => T): T {
  try {
    return read(text);
  } catch {
    throw corrupt(path, 'it does not parse');
  }
}

function corrupt(path: string, reason: string): PurserError {
  return new PurserError('ERR_STATE_CORRUPT', `TLS state file ${path} cannot be used: ${reason}`, {
    hint: 'restore the tls directory from a backup; if you remove it, a new CA is made and every node must join again',
  });
}

// The auto-unseal file (FORMAT.md section 6): shares for a host that must start unattended. Refused unless only root or the
// user of the process can have written and read it. The shares never become strings.

import { constants, existsSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

import { KEY_BYTES } from '../crypto/aead.ts';
import { MAX_SHARES } from '../crypto/shamir.ts';
import { syncDirectory, writeFileAtomic } from '../lib/atomic-file.ts';
import { bytesFromHex, hexFromBytes, utf8, wipe } from '../lib/bytes.ts';
import { PurserError, messageOf } from '../lib/errors.ts';

const HEADER = 'purser-unseal-1';
const LF = 0x0a;
const MAX_BYTES = HEADER.length + 1 + MAX_SHARES * (2 * (KEY_BYTES + 1) + 1);

/** Writes `shares` to `path` with mode 0600, replacing what is there. @throws ERR_STATE_WRITE */
export async function writeUnsealFile(path: string, shares: readonly Uint8Array[]): Promise<void> {
  const lines = [utf8(HEADER), ...shares.map(hexFromBytes)];
  const content = Buffer.concat(lines.flatMap((line) => [line, Uint8Array.of(LF)]));
  try {
    await writeFileAtomic(path, content, { mode: 0o600 });
  } finally {
    wipe(content, ...lines);
  }
}

// A rekey changes the file and the store, and can be cut off between the two. So the new file lies beside the old one before the store
// changes, and takes its place afterwards; whichever of the two opens the store is found at the next start.

/** Where the file of a rekey lies until the store has changed. */
export function stagedPath(path: string): string {
  return `${path}.next`;
}

/** Writes the file of a rekey beside the present one. @throws ERR_STATE_WRITE */
export function stageUnsealFile(path: string, shares: readonly Uint8Array[]): Promise<void> {
  return writeUnsealFile(stagedPath(path), shares);
}

export function hasStagedUnsealFile(path: string): boolean {
  return existsSync(stagedPath(path));
}

/** Puts the staged file into the place of the present one, durably. @throws ERR_STATE_WRITE */
export async function promoteStagedUnsealFile(path: string): Promise<void> {
  try {
    await rename(stagedPath(path), path);
    await syncDirectory(dirname(path));
  } catch (cause) {
    throw new PurserError('ERR_STATE_WRITE', `cannot replace ${path}: ${messageOf(cause)}`, { cause, hint: `mv ${stagedPath(path)} ${path}` });
  }
}

/** Removes a staged file that opens nothing. */
export async function discardStagedUnsealFile(path: string): Promise<void> {
  await rm(stagedPath(path), { force: true });
}

/** @returns the shares, for the caller to wipe. @throws ERR_SEAL_FILE */
export async function readUnsealFile(path: string): Promise<Uint8Array[]> {
  const content = await readPrivateFile(path);
  try {
    return parse(content) ?? refuse(path, 'it is malformed', `write it anew: the line ${HEADER}, then one share in hexadecimal per line`);
  } finally {
    wipe(content);
  }
}

async function readPrivateFile(path: string): Promise<Uint8Array> {
  let file: FileHandle;
  try {
    // O_NONBLOCK: a FIFO in its place must not hang the start; it is refused below.
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const isLink = (error as NodeJS.ErrnoException).code === 'ELOOP';
    return refuse(path, isLink ? 'it is a symbolic link' : messageOf(error), isLink ? 'name the file itself' : 'check the path and its permissions');
  }
  try {
    await assertPrivate(file, path);
    const content = new Uint8Array(MAX_BYTES + 1);
    let length = 0;
    for (let read = 1; read > 0; length += read) read = (await file.read(content, length, content.length - length, null)).bytesRead;
    return content.subarray(0, length);
  } finally {
    await file.close();
  }
}

async function assertPrivate(file: FileHandle, path: string): Promise<void> {
  const { mode, uid, size } = await file.stat();
  if ((mode & constants.S_IFMT) !== constants.S_IFREG) refuse(path, 'it is not a regular file', 'name a regular file');
  if (uid !== 0 && uid !== process.geteuid?.()) refuse(path, 'it belongs to another user', 'chown it to root or to the user of the server');
  const permissions = mode & 0o7777;
  if (permissions !== 0o600 && permissions !== 0o400) {
    refuse(path, `its mode is ${permissions.toString(8).padStart(4, '0')}`, `chmod 0600 ${path}; if others could read it, its shares are no longer secret`);
  }
  if (size > MAX_BYTES) refuse(path, 'it is too large', 'name an auto-unseal file');
}

/** The shares, or undefined unless `content` is exactly the format. */
function parse(content: Uint8Array): Uint8Array[] | undefined {
  if (content.at(-1) !== LF) return undefined;
  const [header, ...lines] = splitLines(content);
  if (header === undefined || !Buffer.from(HEADER).equals(header)) return undefined;
  const shares = lines.map((line) => line.length === 2 * KEY_BYTES || line.length === 2 * (KEY_BYTES + 1) ? bytesFromHex(line) : undefined);
  const whole = shares.filter((share) => share !== undefined);
  if (whole.length === lines.length && whole.length >= 1 && whole.length <= MAX_SHARES) return whole;
  wipe(...whole);
  return undefined;
}

function splitLines(content: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let start = 0; start < content.length;) {
    const end = content.indexOf(LF, start);
    lines.push(content.subarray(start, end));
    start = end + 1;
  }
  return lines;
}

function refuse(path: string, reason: string, hint: string): never {
  throw new PurserError('ERR_SEAL_FILE', `the auto-unseal file ${path} is refused: ${reason}`, { hint });
}

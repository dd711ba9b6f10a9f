// A program's stack at its first instruction, as the kernel lays it out and as a program finds it, and the builds of the pure parts of the shim
// that work on one: for this machine with AddressSanitizer and UBSan, and for arm64 under an emulator.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Program { readonly argv: readonly string[]; readonly env: readonly string[] }
export interface Memory { readonly sp: bigint; readonly bytes: Buffer }

export const TOP = 0x7fff_ffff_0000n;
export const AUXV = [3n, 0x40_0040n, 25n, TOP - 64n, 0n, 0n];

/** The memory from the stack pointer to the top, as the kernel lays it out. */
export function lay({ argv, env }: Program): Memory {
  const strings = [...argv, ...env].map((text) => Buffer.from(`${text}\0`));
  const text = Buffer.concat(strings);
  const start = TOP - BigInt(text.length);
  let at = start;
  const pointers = strings.map((string) => { const pointer = at; at += BigInt(string.length); return pointer; });
  const block = [BigInt(argv.length), ...pointers.slice(0, argv.length), 0n, ...pointers.slice(argv.length), 0n, ...AUXV];
  const sp = (start - BigInt(8 * block.length)) & ~15n;
  const bytes = Buffer.alloc(Number(TOP - sp));
  block.forEach((word, i) => bytes.writeBigUInt64LE(word, 8 * i));
  text.copy(bytes, bytes.length - text.length);
  return { sp, bytes };
}

/** What a program finds that begins at `sp`. */
export function walk({ sp, bytes }: Memory): Program & { auxv: bigint[] } {
  let at = 0;
  const word = (): bigint => bytes.readBigUInt64LE(8 * at++);
  const string = (pointer: bigint): string => {
    const offset = Number(pointer - sp);
    assert.ok(offset >= 0 && offset < bytes.length, 'a pointer leaves the stack');
    return bytes.toString('utf8', offset, bytes.indexOf(0, offset));
  };
  const list = (): string[] => { const found = []; for (let p = word(); p !== 0n; p = word()) found.push(string(p)); return found; };
  const argc = word(), argv = list(), env = list();
  assert.equal(argc, BigInt(argv.length));
  return { argv, env, auxv: AUXV.map(() => word()) };
}

const here = dirname(fileURLToPath(import.meta.url));
const shim = join(here, '..', '..', 'src', 'shim');
const ARM64 = 'aarch64-linux-gnu-gcc';
const EMULATOR = 'qemu-aarch64';
const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0;

/** How a harness is built and run, or why it cannot be. */
export const MACHINES: readonly { readonly name: string; readonly skip: string | false; readonly compiler: string; readonly flags: readonly string[]; readonly command: readonly string[] }[] = [
  { name: 'this machine', skip: false, compiler: 'cc', flags: ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'], command: [] },
  { name: 'arm64', skip: has(ARM64) && has(EMULATOR) ? false : `needs ${ARM64} and ${EMULATOR}`, compiler: ARM64, flags: ['-static'], command: [EMULATOR] },
];

/** Compiles `test/shim/<name>.c` with the sources of the shim that it needs; gives what runs it over an input. */
export function harness(machine: (typeof MACHINES)[number], name: string, sources: readonly string[], directory: string): (input: Buffer) => Buffer {
  const out = join(directory, `${name}-${machine.compiler}`);
  execFileSync(machine.compiler, ['-std=gnu11', '-g', '-Wall', '-Wextra', '-Werror', ...machine.flags, `-I${shim}`, '-o', out, join(here, `${name}.c`), ...sources.map((file) => join(shim, file))]);
  const [program = out, ...args] = [...machine.command, out];
  return (input) => execFileSync(program, args, { input, maxBuffer: 2 ** 28 });
}

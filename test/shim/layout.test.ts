// The new stack as a pure function of the old one (src/shim/stack.c), under AddressSanitizer and UBSan, and for arm64: what a program would find by walking
// argc, argv, envp and the auxiliary vector from the new stack pointer, for many stacks, and what is said of stacks and payloads that are none.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { payload } from './bundle.ts';
import { AUXV, MACHINES, TOP, harness, lay, walk } from './stack-image.ts';
import type { Memory, Program } from './stack-image.ts';

type Values = Readonly<Record<string, string | null>>;
type Case = { memory: Memory; bytes: Buffer };
const forProgram = (program: Program, values: Values): Case => ({ memory: lay(program), bytes: payload(values) });

/** Runs all cases in one process; the new memory, or the letter of the refusal. */
function runWith(execute: (input: Buffer) => Buffer, cases: readonly Case[]): (Memory | string)[] {
  const input = Buffer.concat(cases.flatMap(({ memory, bytes }) => {
    const head = Buffer.alloc(16);
    head.writeBigUInt64LE(memory.sp);
    head.writeUInt32LE(memory.bytes.length, 8);
    head.writeUInt32LE(bytes.length, 12);
    return [head, memory.bytes, bytes];
  }));
  const output = execute(input);
  let at = 0;
  return cases.map(({ memory }) => {
    const status = output.toString('latin1', at, ++at);
    if (status !== 'k') return status;
    const sp = output.readBigUInt64LE(at), size = output.readUInt32LE(at + 8);
    const image = output.subarray(at + 12, at += 12 + size);
    return { sp, bytes: Buffer.concat([image, memory.bytes.subarray(Number(sp + BigInt(size) - memory.sp))]) };
  });
}

const nameOf = (entry: string): string => entry.slice(0, entry.indexOf('='));
const expectedEnv = (env: readonly string[], values: Values): string[] => env.flatMap((entry) => {
  const value = entry.includes('=') && Object.hasOwn(values, nameOf(entry)) ? values[nameOf(entry)] : undefined;
  return value === undefined ? [entry] : value === null ? [] : [`${nameOf(entry)}=${value}`];
});

for (const machine of MACHINES) {
  describe(`stack_image() on ${machine.name}`, { skip: machine.skip }, () => {
    let directory: string, execute: (input: Buffer) => Buffer;
    before(() => {
      directory = mkdtempSync(join(tmpdir(), 'purser-layout-'));
      execute = harness(machine, 'layout', ['stack.c', 'environment.c', 'expected.c', 'secret.c', 'json.c', 'file.c', 'report.c'], directory);
    });
    after(() => rmSync(directory, { recursive: true, force: true }));
    const run = (cases: readonly Case[]): (Memory | string)[] => runWith(execute, cases);

    test('gives the program its new environment, and everything else as it was', () => {
      const name = fc.constantFrom('A', 'AB', 'DB', 'B', 'PATH', 'Ä');
      const text = fc.string({ maxLength: 40 }).map((s) => s.replaceAll('\0', ''));
      const entry = fc.tuple(name, text).map(([key, value]) => `${key}=${value}`);
      const env = fc.array(fc.oneof(entry, entry, fc.constantFrom('', 'A', 'DB', '=DB', '=')), { maxLength: 12 });
      const program = fc.record({ argv: fc.array(text, { maxLength: 4 }), env });
      const values = fc.dictionary(name, fc.oneof(text, fc.constant(null)), { noNullPrototype: true, maxKeys: 4 });
      const samples = fc.sample(fc.tuple(program, values), 2000)
        .map(([p, v]): [Program, Values] => [p, Object.fromEntries(Object.entries(v).filter(([key]) => p.env.some((e) => e.startsWith(`${key}=`))))]);
      const results = run(samples.map(([p, v]) => forProgram(p, v)));
      results.forEach((result, i) => {
        const [p, v] = samples[i] as [Program, Values];
        assert.ok(typeof result !== 'string', `refused: ${JSON.stringify([p, v])}`);
        assert.equal(result.sp % 16n, 0n);
        assert.deepEqual(walk(result), { argv: p.argv, env: expectedEnv(p.env, v), auxv: AUXV });
        assert.ok(result.bytes.subarray(-1).equals(lay(p).bytes.subarray(-1)));
      });
    });

    test('replaces every occurrence of a name', () => {
      const [result] = run([forProgram({ argv: ['x'], env: ['DB=1', 'A=b', 'DB=2', 'DBX=3', 'DB'] }, { DB: 'new' })]);
      assert.deepEqual(walk(result as Memory).env, ['DB=new', 'A=b', 'DB=new', 'DBX=3', 'DB']);
    });

    test("leaves the kernel's environment block as it was", () => {
      const program = { argv: ['x'], env: ['DB=purser://x', 'A=b'] };
      const before_ = lay(program);
      const [result] = run([forProgram(program, { DB: 'canary' })]);
      const text = Buffer.from('x\0DB=purser://x\0A=b\0');
      assert.ok((result as Memory).bytes.subarray(-text.length).equals(text));
      assert.ok(before_.bytes.subarray(-text.length).equals(text));
    });

    test('says that a variable is missing', () => {
      assert.deepEqual(run([forProgram({ argv: [], env: ['DBX=1', 'DB'] }, { DB: 'x' })]), ['v']);
    });

    test('refuses what is no stack, whatever its bytes are', () => {
      const { sp, bytes } = lay({ argv: ['a', 'b'], env: ['DB=x', 'A=b'] });
      const cut = Array.from({ length: 14 * 8 }, (_, n) => ({ sp, bytes: bytes.subarray(0, n) }));
      const broken = [[0, 3n], [0, 1n], [0, 2n ** 63n], [1, sp - 1n], [1, TOP], [4, 1n], [5, 2n ** 64n - 1n]].map(([index, word]) => {
        const copy = Buffer.from(bytes);
        copy.writeBigUInt64LE(word as bigint, 8 * Number(index));
        return { sp, bytes: copy };
      });
      const unterminated = Buffer.from(bytes);
      unterminated[bytes.length - 1] = 0x41;
      const cases = [...cut, ...broken, { sp, bytes: unterminated }, { sp: sp + 8n, bytes }].map((memory) => ({ memory, bytes: payload({ DB: 'x' }) }));
      assert.deepEqual(new Set(run(cases)), new Set(['s']));
    });

    test('survives random bytes as stack and as payload', () => {
      const samples = fc.sample(fc.tuple(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 60 })), 3000);
      const results = run(samples.map(([stack, bytes]) => ({ memory: { sp: 0x1000n, bytes: Buffer.from(stack) }, bytes: Buffer.from(bytes) })));
      assert.ok(results.every((result) => result === 'm' || result === 's'));
    });
  });
}

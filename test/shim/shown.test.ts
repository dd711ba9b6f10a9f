// What a program that inherited values keeps and what the kernel shows of it, as a pure function of its stack (src/shim/shown.c), for many stacks:
// the program finds its values by walking from the new stack pointer, and no delivered value is left where the kernel's block is.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { payload } from './bundle.ts';
import { AUXV, MACHINES, harness, lay, walk } from './stack-image.ts';
import type { Memory, Program } from './stack-image.ts';

type Texts = Readonly<Record<string, string>>;
interface Case { readonly memory: Memory; readonly values: Buffer; readonly references: Buffer; readonly floor: bigint }
interface Shown { readonly begun: Memory; readonly old: Buffer; readonly block: readonly string[] }

const of = (program: Program, values: Texts, references: Texts, floor = 0n): Case => ({ memory: lay(program), values: payload(values), references: payload(references), floor });

for (const machine of MACHINES) {
  describe(`shown_make() on ${machine.name}`, { skip: machine.skip }, () => {
    let directory: string, execute: (input: Buffer) => Buffer;
    before(() => {
      directory = mkdtempSync(join(tmpdir(), 'purser-shown-'));
      execute = harness(machine, 'shown', ['shown.c', 'stack.c', 'environment.c', 'expected.c', 'secret.c', 'json.c', 'file.c', 'report.c'], directory);
    });
    after(() => rmSync(directory, { recursive: true, force: true }));

    /** Runs all cases in one process; what came of each, or the letter of the refusal. */
    function run(cases: readonly Case[]): (Shown | string)[] {
      const output = execute(Buffer.concat(cases.flatMap(({ memory, values, references, floor }) => {
        const head = Buffer.alloc(28);
        head.writeBigUInt64LE(memory.sp);
        head.writeBigUInt64LE(floor, 8);
        [memory.bytes, values, references].forEach(({ length }, index) => head.writeUInt32LE(length, 16 + 4 * index));
        return [head, memory.bytes, values, references];
      })));
      let at = 0;
      return cases.map(({ memory }) => {
        const status = output.toString('latin1', at, ++at);
        if (status !== 'k') return status;
        const [sp, start, end] = [0, 8, 16].map((offset) => output.readBigUInt64LE(at + offset)) as [bigint, bigint, bigint];
        const size = output.readUInt32LE(at + 24);
        const image = output.subarray(at + 28, at + 28 + size);
        const old = output.subarray(at += 28 + size, at += memory.bytes.length);
        assert.ok(sp % 16n === 0n && sp + BigInt(size) <= memory.sp, 'wholly below the old stack pointer');
        const gap = Buffer.alloc(Number(memory.sp - sp) - size);
        const block = image.toString('utf8', Number(start - sp), Number(end - sp));
        return { begun: { sp, bytes: Buffer.concat([image, gap, old]) }, old, block: block === '' ? [] : block.replace(/\0$/, '').split('\0') };
      });
    }

    test('the program keeps everything, the block has references, and no value is left in the old one', () => {
      const name = fc.constantFrom('A', 'AB', 'DB', 'B', 'PATH', 'Ä');
      const text = fc.string({ maxLength: 40 }).map((s) => s.replaceAll('\0', ''));
      const values = fc.dictionary(name, text, { noNullPrototype: true, minKeys: 1, maxKeys: 4 });
      const own = fc.oneof(fc.tuple(name, text).map(([key, value]) => `${key}=${value}`), fc.constantFrom('', 'A', 'DB', '=DB', '='));
      const sample = fc.record({ argv: fc.array(text, { maxLength: 4 }), values, reference: text, own: fc.array(own, { maxLength: 8 }) });
      const samples = fc.sample(sample, 2000).map((one) => {
        const references = Object.fromEntries(Object.keys(one.values).map((key) => [key, `purser://${one.reference}`]));
        return { program: { argv: one.argv, env: [...one.own, ...Object.entries(one.values).map(([key, value]) => `${key}=${value}`)] }, values: one.values, references };
      });
      const isDelivered = (entry: string, delivered: Texts): boolean => Object.entries(delivered).some(([key, value]) => entry === `${key}=${value}`);
      const results = run(samples.map(({ program, values: delivered, references }) => of(program, delivered, references)));
      results.forEach((result, index) => {
        const { program, values: delivered, references } = samples[index]!;
        assert.ok(typeof result !== 'string', result as string);
        assert.deepEqual(walk(result.begun), { argv: program.argv, env: program.env, auxv: AUXV });
        const expected = program.env.map((entry) => isDelivered(entry, delivered) ? `${entry.slice(0, entry.indexOf('='))}=${references[entry.slice(0, entry.indexOf('='))]}` : entry);
        // Cut, or filled up with NULs, to the length of what stood there.
        const covered = Buffer.concat(program.env.map((entry, at) => {
          const room = Buffer.alloc(Buffer.byteLength(entry) + 1);
          room.write(expected[at]!, 0, room.length - 1);
          return room;
        }));
        assert.deepEqual(result.old.subarray(-covered.length), covered);
        const fits = program.env.every((entry, at) => Buffer.byteLength(entry) === Buffer.byteLength(expected[at]!));
        if (fits) assert.deepEqual(result.block, []);
        else assert.equal(result.block.join('\0'), expected.join('\0'));
      });
    });

    test('without room for the block the values are covered all the same', () => {
      const program = { argv: ['x'], env: ['DB=canary', 'A=b'] };
      const { sp } = lay(program);
      const [result] = run([of(program, { DB: 'canary' }, { DB: 'purser://secret/db' }, sp - 4200n)]);
      assert.ok(typeof result === 'object');
      assert.deepEqual(result.block, []);
      assert.equal(result.old.includes('canary'), false);
      assert.deepEqual(walk(result.begun).env, program.env);
    });

    test('a value that was changed, removed or is another variable\'s is nobody\'s business', () => {
      assert.deepEqual(run([
        of({ argv: [], env: ['DB=own', 'DBX=canary', 'X=DB=canary'] }, { DB: 'canary' }, { DB: 'purser://x' }),
        of({ argv: [], env: ['DB=canary'] }, { DB: 'canary' }, { OTHER: 'purser://x' }),
      ]), ['n', 'n']);
    });

    test('survives pointers that meet: two variables in one string, one inside another', () => {
      const { sp, bytes } = lay({ argv: [], env: ['DB=canary', 'XDB=canary'] });
      const pointers = [[2, 2], [2, 3], [3, 2]].map(([to, from]) => {
        const copy = Buffer.from(bytes);
        copy.writeBigUInt64LE(bytes.readBigUInt64LE(8 * from!), 8 * to!);
        return { sp, bytes: copy };
      });
      const inside = Buffer.from(bytes);
      inside.writeBigUInt64LE(bytes.readBigUInt64LE(8 * 3) + 1n, 8 * 3);
      const results = run([...pointers, { sp, bytes: inside }].map((memory) => ({ memory, values: payload({ DB: 'canary' }), references: payload({ DB: 'purser://db=DB=canary' }), floor: 0n })));
      for (const result of results) assert.ok(typeof result === 'object' || result === 'n');
    });

    test('survives random bytes', () => {
      const samples = fc.sample(fc.tuple(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 60 }), fc.uint8Array({ maxLength: 60 })), 2000);
      const results = run(samples.map(([stack, values, references]) => ({ memory: { sp: 0x1000n, bytes: Buffer.from(stack) }, values: Buffer.from(values), references: Buffer.from(references), floor: 0n })));
      assert.ok(results.every((result) => result === 'm' || result === 's' || result === 'n'));
    });
  });
}

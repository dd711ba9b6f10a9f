// The JSON walker of purser-runtime against JSON.parse: it accepts the same texts, sees the same references, and never reads a byte
// too far (AddressSanitizer and UBSan), on well-formed, truncated, altered, random and deeply nested input.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';

const here = join(fileURLToPath(import.meta.url), '..');
const shim = join(here, '..', '..', 'src', 'shim');
const REFERENCE = 1;
const SECRET = 2;

type Kind = 'c' | 'p' | 'r';
interface Verdict { readonly seen: number; readonly whole: boolean; readonly roots: readonly string[] }

let dir: string;
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'purser-walker-'));
  execFileSync('cc', ['-std=gnu11', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', `-I${shim}`,
    '-o', join(dir, 'walker'), join(here, 'walker.c'), ...['sight.c', 'json.c', 'file.c', 'report.c'].map((file) => join(shim, file))]);
});
after(() => rmSync(dir, { recursive: true, force: true }));

function walk(inputs: readonly (readonly [Kind, Buffer])[]): Verdict[] {
  const input = Buffer.concat(inputs.flatMap(([kind, text]) => {
    const head = Buffer.alloc(5);
    head.write(kind, 'latin1');
    head.writeUInt32LE(text.length, 1);
    return [head, text];
  }));
  const lines = execFileSync(join(dir, 'walker'), { input, maxBuffer: 64 << 20 }).toString().split('\n').slice(0, -1);
  assert.equal(lines.length, inputs.length);
  return lines.map((line) => {
    const [seen, whole, ...roots] = line.split(' ');
    return { seen: Number(seen), whole: whole === '1', roots };
  });
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
const namesReference = (entry: unknown): boolean => {
  if (typeof entry !== 'string' || !entry.includes('=')) return false;
  const value = entry.slice(entry.indexOf('=') + 1);
  return /^(purser|se):\/\//.test(value) || /\$\{(purser|se):\/\//.test(value);
};

/** The same question, asked of JSON.parse. No duplicate keys in these inputs. */
function expected(kind: Kind, document: unknown): number {
  if (!isObject(document)) return 0;
  if (kind === 'r') {
    const labels = isObject(document['Config']) ? document['Config']['Labels'] : undefined;
    const secrets = document['SecretReferences'];
    return (isObject(labels) && Object.keys(labels).some((key) => key.startsWith('purser.')) ? REFERENCE : 0)
      + (Array.isArray(secrets) && secrets.length > 0 ? SECRET : 0);
  }
  const process = kind === 'p' ? document : document['process'];
  const env = isObject(process) ? process['env'] : undefined;
  return Array.isArray(env) && env.some(namesReference) ? REFERENCE : 0;
}

// Keys and strings that steer the walkers, mixed with arbitrary ones.
const key = fc.oneof(fc.constantFrom('process', 'env', 'mounts', 'destination', 'source', 'Config', 'Labels', 'SecretReferences', 'purser.file.a', 'purser'), fc.string());
const text = fc.oneof(
  fc.constantFrom('A=purser://x', 'A=se://x', 'A=x${purser://y}', 'A=${se://y}', 'purser://', '=', 'A', '/etc/hostname', `/r/containers/${'a'.repeat(64)}/h`),
  fc.string({ unit: 'binary' }), fc.string());
const json = fc.letrec((tie) => ({
  value: fc.oneof({ depthSize: 'small' }, fc.constantFrom(null, true, false, 0, -0.5, 1e21, 1e-9), text, fc.array(tie('value')), fc.dictionary(key, tie('value'))),
})).value;
const steered = fc.record({
  process: fc.oneof(json, fc.record({ env: fc.oneof(json, fc.array(text)) })),
  env: fc.oneof(json, fc.array(text)),
  mounts: fc.oneof(json, fc.array(fc.record({ destination: text, source: text }))),
  Config: fc.oneof(json, fc.record({ Labels: fc.oneof(json, fc.dictionary(key, text)) })),
  SecretReferences: json,
}, { requiredKeys: [] });

/** Writes JSON plainly, with white space and escaped slashes, or with every character escaped. */
function write(value: unknown, style: number): string {
  if (style === 0) return JSON.stringify(value);
  if (style === 1) return JSON.stringify(value, null, '\t').replaceAll('/', '\\/');
  return JSON.stringify(value).replace(/"(?:[^"\\]|\\.)*"/gs, (string) =>
    `"${string.slice(1, -1).replace(/\\u[0-9a-f]{4}|\\.|[^]/gs, (unit) =>
      unit.length === 1 ? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}` : unit)}"`);
}

const kinds: readonly Kind[] = ['c', 'p', 'r'];
const parses = (bytes: Buffer): boolean => {
  try { JSON.parse(bytes.toString('utf8')); return true; } catch { return false; }
};

test('the walker sees exactly the references that JSON.parse shows', () => {
  const documents = fc.sample(fc.tuple(fc.oneof(steered, json), fc.constantFrom(...kinds), fc.nat(2)), 6000);
  const verdicts = walk(documents.map(([document, kind, style]) => [kind, Buffer.from(write(document, style))]));
  documents.forEach(([document, kind, style], i) => {
    const context = `${kind} ${write(document, style)}`;
    assert.equal(verdicts[i]?.whole, true, context);
    assert.equal(verdicts[i]?.seen, expected(kind, JSON.parse(JSON.stringify(document))), context);
  });
});

test('the walker accepts and refuses the same altered texts as JSON.parse', () => {
  const cases = fc.sample(fc.tuple(steered, fc.constantFrom(...kinds), fc.nat(), fc.constantFrom(...'{}[],:"\\/u0129.eE+-tfn \n\t\u0001')), 8000)
    .map(([document, kind, at, char]): readonly [Kind, Buffer] => {
      const chars = [...JSON.stringify(document)];
      const place = at % (chars.length + 1);
      // Cut, replace or insert.
      const altered = at % 3 === 0 ? chars.slice(0, place) : [...chars.slice(0, place), char, ...chars.slice(place + (at % 2))];
      return [kind, Buffer.from(altered.join(''))];
    });
  walk(cases).forEach((verdict, i) => {
    const bytes = cases[i]?.[1] ?? Buffer.alloc(0);
    assert.equal(verdict.whole, parses(bytes), bytes.toString());
  });
});

test('the walker survives random bytes', () => {
  const inputs = fc.sample(fc.tuple(fc.constantFrom(...kinds), fc.uint8Array({ maxLength: 200 })), 5000).map(([kind, bytes]): readonly [Kind, Buffer] => [kind, Buffer.from(bytes)]);
  for (const verdict of walk(inputs)) assert.ok(verdict.seen <= 3);
});

test('the walker bounds nesting and strictly judges the corner cases of the grammar', () => {
  const deep = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
  const table: readonly [string, boolean][] = [
    [deep(128), true], [deep(129), false], ['['.repeat(1_000_000), false], ['{"a":'.repeat(1_000_000), false], [`{"a":${deep(127)}}`, true],
    ['', false], [' ', false], ['{}', true], [' {} \n', true], ['{}x', false], ['{}{}', false], ['{"a":1,}', false], ['{,}', false], ['[1,]', false],
    ['[,1]', false], ['{"a"}', false], ['{"a":}', false], ['{a:1}', false], ['[1 2]', false], ['[}', false], ['{]', false], ['"\\x"', false],
    ['"\\u12"', false], ['"\\u12g4"', false], ['"\\ud800"', true], ['"\\ud83d\\ude00"', true], ['"\\"', false], ['"a\nb"', false], ['01', false],
    ['-', false], ['1.', false], ['.5', false], ['1e', false], ['1e+', false], ['-0.0e-0', true], ['18446744073709551615', true], ['tru', false],
    ['true', true], ['nul', false], ['truex', false], ['[truefalse]', false], ['NaN', false], ['\ufeff{}', false],
  ];
  const verdicts = walk(table.map(([input]) => ['c', Buffer.from(input)]));
  table.forEach(([input, whole], i) => assert.equal(verdicts[i]?.whole, whole, input.slice(0, 60)));
});

test('the walker derives Docker roots only from the files that Docker mounts itself', () => {
  const id = 'ab'.repeat(32);
  const table: readonly [string, string, string[]][] = [
    ['/etc/hostname', `/var/lib/docker/containers/${id}/hostname`, ['/var/lib/docker']],
    ['/etc/hosts', `/data/containers/x/containers/${id}/hosts`, ['/data/containers/x']],
    ['/etc/resolv.conf', `/containers/${id}/resolv.conf`, ['']],
    ['/etc/passwd', `/var/lib/docker/containers/${id}/hostname`, []],
    ['/etc/hostname', `/var/lib/docker/containers/${id}`, []],
    ['/etc/hostname', `/var/lib/docker/containers/${id}0/hostname`, []],
    ['/etc/hostname', `/var/lib/docker/containers/${id.toUpperCase()}/hostname`, []],
    ['/etc/hostname', `lib/containers/${id}/hostname`, []],
    ['/etc/hostname', `/a\0b/containers/${id}/hostname`, []],
  ];
  const verdicts = walk(table.map(([destination, source]) => ['c', Buffer.from(JSON.stringify({ mounts: [{ destination, source }] }))]));
  table.forEach(([, source, roots], i) => assert.deepEqual(verdicts[i]?.roots, roots, source));
});

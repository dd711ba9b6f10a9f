// Output: what names and values from anywhere can do to a terminal, a table or a spreadsheet: nothing.

import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { PurserError } from '../../src/lib/errors.ts';
import { createOutput, formatRows } from '../../src/cli/output.ts';

const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/;
const EVIL = '\u001b[2Jred\u009b31m\u202etxt\u0007';

function capture(isTty: boolean) {
  const stdout = Object.assign(new PassThrough(), { isTTY: isTty });
  const stderr = new PassThrough();
  return { output: createOutput(stdout, stderr), stdout: () => String(stdout.read() ?? ''), stderr: () => String(stderr.read() ?? '') };
}

test('formatRows() keeps a row on one line, whatever a container called its program', () => {
  const table = formatRows('table', ['secret', 'read_by'], [{ secret: 'secret/a', read_by: '/tmp/x\nsecret/b  nobody' }, { secret: 'secret/b', read_by: `\t${EVIL}` }]);
  assert.equal(table.split('\n').length, 3);
  assert.match(table, /\/tmp\/x\\nsecret\/b {2}nobody/);
  assert.doesNotMatch(table, CONTROL);
});

test('formatRows() gives a spreadsheet no formula, and one record per row', () => {
  for (const start of ['=', '+', '-', '@', '\t', '\r']) {
    assert.match(formatRows('csv', ['a'], [{ a: `${start}cmd|' /C calc'!A0` }]), /^a\r\n"?'/);
  }
  assert.equal(formatRows('csv', ['a', 'b'], [{ a: 'x"\r\ny', b: 'z' }]), 'a,b\r\n"x""\r\ny",z');
});

test('line() sends no control characters to a terminal, and every byte to a pipe', () => {
  const terminal = capture(true);
  terminal.output.line(`one\ntwo${EVIL}`);
  terminal.output.json({ name: EVIL });
  assert.doesNotMatch(terminal.stdout(), CONTROL);
  const pipe = capture(false);
  pipe.output.line(`one\ntwo${EVIL}`);
  assert.equal(pipe.stdout(), `one\ntwo${EVIL}\n`);
});

test('error() sends no control characters of a message or hint anywhere', () => {
  const { output, stderr } = capture(false);
  output.error(new PurserError('ERR_CLIENT_RESPONSE', `the core says ${EVIL}`, { hint: EVIL }));
  assert.doesNotMatch(stderr(), CONTROL);
});

test('rows() shows CSV on a terminal with plain line ends, and a table of more rows than a function takes arguments', () => {
  const terminal = Object.assign(new PassThrough(), { isTTY: true });
  createOutput(terminal, new PassThrough()).rows('csv', ['a', 'b'], [{ a: 1, b: 'x\ry' }]);
  assert.equal(String(terminal.read()), 'a,b\n1,"x\ufffdy"\n');
  assert.equal(formatRows('table', ['a'], Array.from({ length: 200_000 }, () => ({ a: 'x' }))).length, 400_001);
});

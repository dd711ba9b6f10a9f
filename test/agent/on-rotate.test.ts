// The labels of on-rotate: every form, and every refusal at the start.

import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import { describeAction, readOnRotate, signalNumber } from '../../src/agent/on-rotate.ts';
import { isPurserError } from '../../src/lib/errors.ts';

const read = (text: string, jitter?: string) => readOnRotate({ 'purser.on-rotate': text, ...(jitter === undefined ? {} : { 'purser.on-rotate.jitter': jitter }) });

for (const [text, command] of [
  ['exec:nginx -s reload', ['nginx', '-s', 'reload']], ['exec:  a   b\t c ', ['a', 'b', 'c']], ['exec:sh -c \'echo "$X" | cat\'', ['sh', '-c', 'echo "$X" | cat']],
  ['exec:a "b c" d"e f"g', ['a', 'b c', 'de fg']], ['exec:a "\\"x\\" \\\\ \\n $Y"', ['a', '"x" \\ \\n $Y']], ['exec:a b\\ c \\"', ['a', 'b c', '"']], ['exec:a \'\' ""', ['a', '', '']], ['exec:a \'it\'\\\'\'s\'', ['a', "it's"]],
  ['exec:a * $HOME `x` ; & |', ['a', '*', '$HOME', '`x`', ';', '&', '|']],
] as const) {
  test(`readOnRotate() splits ${text}`, () => { assert.deepEqual(read(text)?.action, { type: 'exec', command }); });
}

test('readOnRotate() reads signals, restart, none and the jitter', () => {
  for (const [text, signal] of [['signal:HUP', 'HUP'], ['signal:SIGUSR1', 'USR1'], ['signal:winch', 'WINCH'], ['signal:RTMIN+3', 'RTMIN+3'], ['signal:sigrtmax-1', 'RTMAX-1']] as const) assert.deepEqual(read(text)?.action, { type: 'signal', signal });
  assert.deepEqual(read('restart', '1m30s'), { action: { type: 'restart' }, jitterMs: 90_000 });
  assert.equal(read('none'), undefined);
  assert.equal(readOnRotate({}), undefined);
});

for (const [text, says, jitter] of [
  ['signal:NOPE', /no signal of this name/], ['signal:', /no signal/], ['signal:1', /no signal/], ['signal:HUP ', /no signal/], ['signal:RTMIN+31', /no signal/], ['signal:RTMIN-1', /no signal/], ['signal:RTMAX+1', /no signal/], ['signal:constructor', /no signal/],
  ['signal:KILL', /KILL ends the container/], ['signal:SIGKILL', /KILL ends/], ['signal:STOP', /STOP freezes/], ['update', /update is for Swarm services/], ['update:rolling', /update is for Swarm services/],
  ['', /no action/], ['HUP', /no action/], ['Restart', /no action/], ['restart now', /no action/], ['exec', /no action/], ['exec:', /no command/], ['exec:   ', /no command/], ['exec:""', /no command/],
  ['exec:a "b', /not closed/], ["exec:a 'b", /not closed/], ['exec:a \\', /not closed/], ['exec:a\0b', /a NUL/], [`exec:${'a'.repeat(4097)}`, /4096/],
  ['restart', /jitter: the duration is malformed/, 'soon'], ['restart', /negative/, '-1s'], ['restart', /longer than a day/, '25h'],
] as const) {
  test(`readOnRotate() refuses ${JSON.stringify(text.slice(0, 40))}${jitter === undefined ? '' : ` with jitter ${jitter}`}`, () => {
    assert.throws(() => read(text, jitter), (error) => isPurserError(error, 'ERR_WORKLOAD_INVALID', 'ERR_DURATION_SYNTAX') && error.message.startsWith('label purser.on-rotate') && says.test(error.message));
  });
}

test('readOnRotate() refuses a jitter without an action', () => {
  assert.throws(() => readOnRotate({ 'purser.on-rotate.jitter': '5s' }), (error) => isPurserError(error, 'ERR_WORKLOAD_INVALID') && /there is no label purser\.on-rotate/.test(error.message));
});

test('signalNumber() knows the numbers of this machine', () => {
  for (const [name, number] of Object.entries(constants.signals)) if (!['SIGKILL', 'SIGSTOP', 'SIGUNUSED'].includes(name)) assert.equal(signalNumber(name.slice(3)), number, name);
  assert.deepEqual(['RTMIN', 'RTMIN+1', 'RTMAX'].map(signalNumber), [34, 35, 64]);
});

test('describeAction() leaves the arguments of a command out', () => {
  assert.equal(describeAction({ type: 'exec', command: ['redis-cli', '-a', 'hunter2'] }), 'exec:redis-cli');
});

// From declarations and results to tree, mounts, variables and record.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { placeFiles } from '../../src/agent/placement.ts';
import type { ContainerWish } from '../../src/agent/placement.ts';
import type { DeclaredFile } from '../../src/agent/declarations.ts';
import { isPurserError } from '../../src/lib/errors.ts';
import { parseReference } from '../../src/wire/reference.ts';

function declared(name: string, part: Partial<DeclaredFile> = {}, text = `purser://secret/${name}?default=hunter2#f`): DeclaredFile {
  return { name, target: `/run/secrets/${name}`, text, reference: parseReference(text), uid: 5, gid: 6, mode: 0o400, origin: `label purser.file.${name}`, ...part };
}

function value(text: string, version = 3) {
  return { outcome: 'value' as const, value: Buffer.from(text).toString('base64'), path: 'secret/x', field: 'f', version };
}

const absent = { outcome: 'absent' as const, path: 'secret/x', version: 0 };

function wish(part: Partial<ContainerWish>): ContainerWish {
  return { declared: [], templates: [], variables: [], environment: [], swarm: [], mountsBelow: [], uidMappings: [], gidMappings: [], ...part };
}

test('placeFiles() puts files of /run/secrets into one directory mount and others on mounts of their own', () => {
  const { files, mounts, variables, granted } = placeFiles(wish({
    declared: [
      { file: declared('a'), result: value('one') },
      { file: declared('b', { target: '/etc/app/b', mode: 0o440 }), result: value('two') },
      { file: declared('C', { variable: 'C_FILE' }), result: value('three') },
    ],
  }));
  assert.deepEqual(files.map(({ name, kind, mode, version, content }) => [name, kind, mode, version, Buffer.from(content).toString()]),
    [['a', 'versioned', 0o400, 3, 'one'], ['@b', 'bound', 0o440, 3, 'two'], ['C', 'versioned', 0o400, 3, 'three']]);
  assert.deepEqual([...mounts], [['/etc/app/b', 'bound/@b'], ['/run/secrets', 'files']]);
  assert.deepEqual([...variables], [['C_FILE', '/run/secrets/C']]);
  assert.deepEqual(granted.map(({ name, target, version }) => [name, target, version]), [['a', '/run/secrets/a', 3], ['@b', '/etc/app/b', 3], ['C', '/run/secrets/C', 3]]);
});

test('placeFiles() keeps no default in the record', () => {
  const { granted } = placeFiles(wish({ declared: [{ file: declared('a'), result: value('one') }] }));
  assert.doesNotMatch(JSON.stringify(granted), /hunter2/);
});

test('placeFiles() leaves an absent file out and its variable empty, and remembers both', () => {
  const { files, mounts, variables, granted } = placeFiles(wish({ declared: [{ file: declared('A', { variable: 'A_FILE' }), result: absent }] }));
  assert.deepEqual([files.length, mounts.size, variables.get('A_FILE'), granted[0]?.kind], [0, 0, '', 'absent']);
});

test('placeFiles() swaps the source of Swarm secrets, each reference with its own owner and mode', () => {
  const secret = (target: string, mode: number) => ({ secretId: 's1', secretName: 'db', target, uid: 1, gid: 2, mode });
  const { files, swaps, mounts, granted } = placeFiles(wish({
    swarm: [{ secret: secret('/run/secrets/db', 0o444), result: value('v') }, { secret: secret('/etc/db', 0o400), result: value('v') }],
    mountsBelow: [{ destination: '/run/secrets/db', isDirectory: false }],
  }));
  assert.deepEqual([...swaps], [['/run/secrets/db', 'bound/$swarm-0'], ['/etc/db', 'bound/$swarm-1']]);
  assert.equal(mounts.size, 0, 'no directory is mounted for Swarm secrets alone');
  assert.deepEqual(files.map(({ name, kind, uid, mode }) => [name, kind, uid, mode]), [['$swarm-0', 'bound', 1, 0o444], ['$swarm-1', 'bound', 1, 0o400]]);
  assert.deepEqual(granted.map(({ source }) => source), [{ type: 'swarm', name: 'db' }, { type: 'swarm', name: 'db' }]);
});

test('placeFiles() makes placeholders for other mounts once /run/secrets is its own', () => {
  const { files } = placeFiles(wish({ declared: [{ file: declared('a'), result: value('x') }], mountsBelow: [{ destination: '/run/secrets/other', isDirectory: false }] }));
  assert.deepEqual(files.map(({ name, kind, mode }) => [name, kind, mode]), [['a', 'versioned', 0o400], ['other', 'placeholder', 0]]);
});

test('placeFiles() refuses a directory mount where its files are', () => {
  assert.throws(() => placeFiles(wish({ declared: [{ file: declared('a'), result: value('x') }], mountsBelow: [{ destination: '/run/secrets/dir', isDirectory: true }] })),
    (error) => isPurserError(error, 'ERR_WORKLOAD_INVALID') && /\/run\/secrets\/dir/.test(error.message));
});

test('placeFiles() gives owners as the host knows them and refuses one that is not mapped', () => {
  const mappings = [{ containerId: 0, hostId: 200_000, size: 100 }];
  const { files } = placeFiles(wish({ declared: [{ file: declared('a'), result: value('x') }], uidMappings: mappings, gidMappings: mappings }));
  assert.deepEqual([files[0]?.uid, files[0]?.gid], [200_005, 200_006]);
  assert.throws(() => placeFiles(wish({ declared: [{ file: declared('a', { uid: 100 }), result: value('x') }], uidMappings: mappings, gidMappings: mappings })), /label purser\.file\.a: .*no user 100/);
});

test('placeFiles() never shares the memory of a value with another', () => {
  const { files } = placeFiles(wish({ declared: [{ file: declared('a'), result: value('one') }, { file: declared('b'), result: value('two') }] }));
  assert.equal(files[0]?.content.buffer.byteLength, 3);
  assert.notEqual(files[0]?.content.buffer, files[1]?.content.buffer);
});

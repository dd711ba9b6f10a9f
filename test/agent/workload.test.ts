// What the core is told of a container, and what an image cannot make it believe.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { workloadOf, type DockerContainer } from '../../src/agent/workload.ts';

const ID = 'ab'.repeat(32);
const SWARM = { 'com.docker.swarm.service.name': 'shop_web', 'com.docker.swarm.task.id': 'task1', 'com.docker.stack.namespace': 'shop' };

function container(part: Partial<DockerContainer> = {}): DockerContainer {
  return { id: ID, name: '/web', image: 'nginx:1.27', imageId: 'sha256:9', labels: {}, ...part };
}

const images = (labels: Readonly<Record<string, string>>) => ({ imageLabels: async () => labels });

test('workloadOf() takes service, stack and task from the labels that Swarm gave, and leaves Purser\'s own out', async () => {
  assert.deepEqual(await workloadOf(container({ labels: { ...SWARM, team: 'a', 'purser.file.x': 'purser://a/b?default=hunter2' } }), images({})), {
    id: ID, name: 'web', image: 'nginx:1.27', image_digest: 'sha256:9', labels: { ...SWARM, team: 'a' }, service: 'shop_web', stack: 'shop', task_id: 'task1',
  });
});

test('workloadOf() marks the labels that an image brought, and takes no service, stack or task from them', async () => {
  const labels = { ...SWARM, team: 'a', tier: 'front' };
  const workload = await workloadOf(container({ labels }), images({ ...SWARM, team: 'a', tier: 'back' }));
  assert.deepEqual(workload.image_labels, [...Object.keys(SWARM), 'team']);
  assert.deepEqual([workload.service, workload.stack, workload.task_id], [undefined, undefined, undefined]);
  assert.deepEqual(workload.labels, labels);
});

test('workloadOf() takes every label for the image\'s when the image cannot be asked', async () => {
  const gone = { imageLabels: async () => Promise.reject(new Error('no such image')) };
  for (const workload of [await workloadOf(container({ labels: SWARM }), gone), await workloadOf(container({ labels: SWARM, imageId: undefined }), images({}))]) {
    assert.deepEqual(workload.image_labels, Object.keys(SWARM));
    assert.equal(workload.service, undefined);
  }
});

test('workloadOf() asks for no image when there is no label, and takes the digest of the reference before the image id', async () => {
  const silent = { imageLabels: async () => Promise.reject(new Error('asked')) };
  const digest = `sha256:${'2'.repeat(64)}`;
  assert.deepEqual(await workloadOf(container({ image: `a@${digest}` }), silent), { id: ID, name: 'web', image: `a@${digest}`, image_digest: digest, labels: {} });
  assert.equal((await workloadOf(container({ image: 'a@sha256:short' }), silent)).image_digest, 'sha256:9');
});

test('workloadOf() tells of labels only what fits a request beside 255 other containers', async () => {
  const many = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`l${String(index)}`, 'x']));
  assert.equal(Object.keys((await workloadOf(container({ labels: many }), images(many))).labels).length, 256);
  const { labels } = await workloadOf(container({ labels: { a: 'x'.repeat(70_000), b: 'y'.repeat(60_000), c: 'z'.repeat(6000), d: 'z' } }), images({}));
  assert.deepEqual(Object.keys(labels), ['b', 'd']);
});

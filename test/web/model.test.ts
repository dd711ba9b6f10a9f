// What the page makes of the core's answers.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { activitySeries, detailOf, matrixOf, secretsInUse, type Cell } from '../../src/web/model.ts';

const cell = (secret: string, holder: Pick<Cell, 'service' | 'container'>, containers: number, versions: readonly number[] = [1]): Cell => ({ secret, ...holder, containers, versions, opens: 0, last_opened_time: null });
const CELLS = [
  cell('secret/a', { container: 'tool' }, 1), cell('secret/shop/db', { service: 'api' }, 20, [1, 2]), cell('secret/shop/db', { service: 'web' }, 3, [2]), cell('secret/shop/mail', { service: 'web' }, 3), cell('secret/x10', { service: 'web' }, 1), cell('secret/x9', { service: 'web' }, 1),
];

test('matrixOf() puts what most containers hold first, and counts as people do', () => {
  const { columns, rows, newest } = matrixOf(CELLS);
  assert.deepEqual(columns, ['secret/shop/db', 'secret/shop/mail', 'secret/a', 'secret/x9', 'secret/x10']);
  assert.deepEqual(rows.map(({ name, cells }) => [name, cells.size]), [['api', 1], ['web', 4], ['tool', 1]]);
  assert.equal(newest.get('secret/shop/db'), 2);
});

test('matrixOf() keeps the cells whose secret and holder have all words', () => {
  const { columns, rows } = matrixOf(CELLS, ' SHOP web');
  assert.deepEqual([columns, rows.map(({ name }) => name)], [['secret/shop/db', 'secret/shop/mail'], ['web']]);
  assert.deepEqual(matrixOf(CELLS, 'nothing').rows, []);
});

test('secretsInUse() is one line for each secret, with all versions that are held', () => {
  assert.deepEqual(secretsInUse(CELLS).find(({ path }) => path === 'secret/shop/db'), { path: 'secret/shop/db', holders: ['api', 'web'], containers: 23, versions: [1, 2], lastOpened: null });
});

test('activitySeries() counts reads, and refused reads together with refused containers', () => {
  const steps = [{ time: 'a', opened: 3, refused: 1, denied: 2 }, { time: 'b', opened: 5, refused: 0, denied: 0 }];
  assert.deepEqual(activitySeries(steps), [{ name: 'reads', values: [3, 5], total: 8, most: 5 }, { name: 'refusals', values: [3, 0], total: 3, most: 3 }]);
  assert.deepEqual(activitySeries([]).map(({ most }) => most), [0, 0]);
});

test('detailOf() says who read how often, and nothing that is not there', () => {
  const entry = { time: '', type: 'opened', node: 'n', container: 'c', path: 'secret/x', version: 2, count: 3, process: { executable: '/bin/cat', name: 'cat', uid: 7 } };
  assert.equal(detailOf(entry), 'secret/x · version 2 · by /bin/cat (uid 7) 3 times');
  assert.equal(detailOf({ time: '', type: 'released', node: 'n', container: 'c' }), '');
});

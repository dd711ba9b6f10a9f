// Every error code has a status, and nothing that is not ours reaches a client.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ERROR_CODES, type ErrorCode } from '../../src/lib/error-codes.ts';
import { PurserError } from '../../src/lib/errors.ts';
import { ERROR_STATUS, isServerFault, replyForError } from '../../src/server/error-status.ts';

describe('ERROR_STATUS', () => {
  test('ERROR_STATUS has exactly the codes of the error catalogue, each with an HTTP error status', () => {
    assert.deepEqual(Object.keys(ERROR_STATUS).sort(), Object.keys(ERROR_CODES).sort());
    for (const [status] of Object.values(ERROR_STATUS)) assert.ok(status >= 400 && status <= 599);
  });
});

describe('replyForError()', () => {
  const rows: readonly (readonly [code: ErrorCode, status: number, errors: readonly string[]])[] = [
    ['ERR_REQUEST_INVALID', 400, ['m']], ['ERR_REQUEST_DENIED', 403, ['m']], ['ERR_REQUEST_NOT_FOUND', 404, ['m']], ['ERR_REQUEST_UNSUPPORTED', 405, ['m']],
    ['ERR_REQUEST_TOO_LARGE', 413, ['m']], ['ERR_REQUEST_MEDIA_TYPE', 415, ['m']], ['ERR_BARRIER_SEALED', 503, ['Vault is sealed']],
    ['ERR_BARRIER_OPEN', 500, ['internal error']], ['ERR_AUDIT_REFUSED', 500, ['internal error']], ['ERR_STORAGE_FULL', 507, ['m']],
  ];
  for (const [code, status, errors] of rows) {
    test(`replyForError() makes ${status} of ${code}`, () => {
      const reply = replyForError(new PurserError(code, 'm', { hint: 'h' }));
      assert.equal(reply.status, status);
      const body = JSON.parse(reply.body!) as { errors: string[]; code: string; hint?: string };
      assert.deepEqual([body.errors, body.code], [errors, code]);
      assert.equal(body.hint, errors[0] === 'm' ? 'h' : undefined);
    });
  }

  for (const thrown of [new Error('canary'), 'canary', undefined, { message: 'canary' }]) {
    test(`replyForError() says nothing of a foreign ${typeof thrown}`, () => {
      assert.deepEqual(replyForError(thrown), { status: 500, body: '{"errors":["internal error"]}' });
      assert.equal(isServerFault(thrown), true);
    });
  }
});

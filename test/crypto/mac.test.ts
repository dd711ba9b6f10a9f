import assert from 'node:assert/strict';
import { it } from 'node:test';

import { hmacSha256 } from '../../src/crypto/mac.ts';

it('hmacSha256() gives the code of RFC 4231, test case 2', () => {
  assert.equal(Buffer.from(hmacSha256(Buffer.from('Jefe'), 'what do ya want for nothing?')).toString('hex'),
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843');
});

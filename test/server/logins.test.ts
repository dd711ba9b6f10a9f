// From a login to a token: what a method may give, how long it lives, and what a renewal asks.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NO_TOKEN_PARAMETERS } from '../../src/auth/method/token-parameters.ts';
import { TokenStore } from '../../src/auth/token/token-store.ts';
import type { AuthMethod, TokenParameters } from '../../src/core/logical.ts';
import { isPurserError, PurserError } from '../../src/lib/errors.ts';
import { Logins } from '../../src/server/logins.ts';
import { DEFAULT_MOUNT_CONFIG, effectiveTtls, SYSTEM_TTLS, type MountConfig } from '../../src/server/mount-config.ts';
import type { Mount } from '../../src/server/mount-table.ts';
import { MemoryView } from '../fakes/memory-view.ts';

const START = 1_700_000_000_000;
const SYSTEM = 2_764_800;

/** A method whose only user has the parameters that the test sets; undefined: the user is gone. */
async function setUp(config: Partial<MountConfig> = {}) {
  const clock = { ms: START };
  const now = (): number => clock.ms;
  const tokens = await TokenStore.open(new MemoryView(), now);
  const user: { parameters: TokenParameters | undefined } = { parameters: { ...NO_TOKEN_PARAMETERS, policies: ['app'] } };
  const asked: unknown[] = [];
  const method: AuthMethod = {
    handle: async () => undefined,
    renewLogin: async (renewal) => {
      asked.push(renewal);
      if (user.parameters === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'the user is gone');
      return user.parameters;
    },
  };
  const mount: Mount = {
    path: 'auth/team/people/', type: 'fake', accessor: 'auth_fake_1', description: '', options: null, uuid: 'u', engine: method, method,
    config: { ...DEFAULT_MOUNT_CONFIG, ...config },
  };
  const mounts = new Map([[mount.accessor, mount]]);
  const logins = new Logins({ tokens, policies: { has: (name) => name !== 'ghost' }, mounts: { byAccessor: (accessor) => mounts.get(accessor), ttlsOf: ({ config: own }) => effectiveTtls(own, SYSTEM_TTLS) }, now });
  const logIn = async (change: Partial<TokenParameters> = {}) => {
    user.parameters = { ...user.parameters!, ...change };
    const response = await logins.issue({ mount, path: 'login/bob' }, {
      login: { alias: { name: 'bob' }, displayName: 'bob', metadata: { username: 'bob' }, token: user.parameters, state: { user: 'bob' } },
    }, '192.0.2.7');
    return { ...response, auth: response.auth as unknown as { client_token: string; lease_duration: number; policies: string[] } };
  };
  const renew = async (id: string, increment = 0): Promise<number> => {
    const renewed = await tokens.renew(id, increment, (entry) => logins.renewalTerms(entry));
    return (renewed!.entry.expiresAt! - clock.ms) / 1000;
  };
  return { clock, tokens, user, asked, mounts, logins, logIn, renew };
}

describe('Logins.issue()', () => {
  test('gives Vault’s auth object, and a token that names mount, path and user', async () => {
    const { tokens, logIn } = await setUp();
    const { auth, warnings } = await logIn({ policies: ['app', 'ghost'], numUses: 3 });
    const { client_token, accessor, ...rest } = auth as unknown as Record<string, unknown>;
    assert.match(String(client_token), /^hvs\./);
    assert.deepEqual(rest, {
      policies: ['app', 'default', 'ghost'], token_policies: ['app', 'default', 'ghost'], metadata: { username: 'bob' }, lease_duration: SYSTEM, renewable: true,
      entity_id: '', token_type: 'service', orphan: true, mfa_requirement: null, num_uses: 3,
    });
    assert.deepEqual(warnings, ['Policy "ghost" does not exist']);
    const entry = (await tokens.lookup(auth.client_token))!;
    assert.deepEqual([entry.accessor, entry.path, entry.displayName], [accessor, 'auth/team/people/login/bob', 'team-people-bob']);
    assert.deepEqual(entry.login, { mount: 'auth_fake_1', state: { user: 'bob' } });
  });

  const lives: readonly (readonly [title: string, parameters: Partial<TokenParameters>, config: Partial<MountConfig>, seconds: number])[] = [
    ['the system’s default', {}, {}, SYSTEM],
    ['the user’s', { ttlSeconds: 60 }, { defaultTtlSeconds: 600 }, 60],
    ['the mount’s where the user has none', {}, { defaultTtlSeconds: 600 }, 600],
    ['the user’s maximum at most', { maxTtlSeconds: 30 }, { defaultTtlSeconds: 600 }, 30],
    ['the mount’s maximum at most', { ttlSeconds: 6000, maxTtlSeconds: 9000 }, { maxTtlSeconds: 500 }, 500],
    ['more than the system’s where the mount allows it', { ttlSeconds: SYSTEM + 1 }, { maxTtlSeconds: SYSTEM + 9 }, SYSTEM + 1],
    ['the period', { periodSeconds: 120, ttlSeconds: 60 }, {}, 120],
    ['the period, within the mount’s maximum', { periodSeconds: 120 }, { maxTtlSeconds: 100 }, 100],
    ['the explicit maximum', { ttlSeconds: 600, explicitMaxTtlSeconds: 10 }, {}, 10],
  ];
  for (const [title, parameters, config, seconds] of lives) {
    test(`lets the token live ${title}`, async () => {
      const { logIn } = await setUp(config);
      assert.equal((await logIn(parameters)).auth.lease_duration, seconds);
    });
  }

  for (const policies of [['root'], [' ROOT '], ['app', 'Ｒoot'], ['purser-node'], ['Response-Wrapping']]) {
    test(`refuses the policies ${JSON.stringify(policies)}, and makes no token`, async () => {
      const { tokens, logIn } = await setUp();
      await assert.rejects(logIn({ policies }), (error) => isPurserError(error, 'ERR_REQUEST_INVALID'));
      for await (const accessor of tokens.accessors()) assert.fail(`a token was made: ${accessor}`);
    });
  }

  test('refuses a login from outside of its ranges', async () => {
    const { logIn } = await setUp();
    await logIn({ boundCidrs: ['203.0.113.0/24', '192.0.2.0/24'] });
    await assert.rejects(logIn({ boundCidrs: ['203.0.113.0/24'] }), (error) => isPurserError(error, 'ERR_REQUEST_DENIED'));
  });

  test('leaves default out when asked', async () => {
    const { logIn } = await setUp();
    assert.deepEqual((await logIn({ noDefaultPolicy: true })).auth.policies, ['app']);
  });

  test('leaves no token when the method was disabled meanwhile', async () => {
    const { tokens, mounts, logIn } = await setUp();
    mounts.clear();
    await assert.rejects(logIn(), (error) => isPurserError(error, 'ERR_REQUEST_DENIED'));
    for await (const accessor of tokens.accessors()) assert.fail(`a token is left: ${accessor}`);
  });

  test('withdraw() ends the token of a response that is not sent', async () => {
    const { tokens, logins, logIn } = await setUp();
    const response = await logIn();
    await logins.withdraw(response);
    assert.equal(await tokens.lookup(response.auth.client_token), undefined);
  });
});

describe('Logins.renewalTerms()', () => {
  test('asks the method with what the login left, and the token’s policies', async () => {
    const { asked, logIn, renew } = await setUp();
    const { auth } = await logIn({ ttlSeconds: 60 });
    assert.equal(await renew(auth.client_token), 60);
    assert.deepEqual(asked, [{ state: { user: 'bob' }, policies: ['app', 'default'] }]);
  });

  test('lets what the user is now decide', async () => {
    const { user, clock, logIn, renew } = await setUp();
    const { auth } = await logIn({ ttlSeconds: 600 });
    user.parameters = { ...user.parameters!, ttlSeconds: 60, maxTtlSeconds: 300 };
    assert.equal(await renew(auth.client_token), 60);
    assert.equal(await renew(auth.client_token, 200), 200);
    assert.equal(await renew(auth.client_token, 1000), 300);
    clock.ms += 190_000;
    assert.equal(await renew(auth.client_token, 1000), 110);
    user.parameters = { ...user.parameters, periodSeconds: 250 };
    assert.equal(await renew(auth.client_token, 1000), 250);
  });

  test('an explicit maximum holds for a token whose user became periodic', async () => {
    const { user, logIn, renew } = await setUp();
    const { auth } = await logIn({ ttlSeconds: 60, explicitMaxTtlSeconds: 100 });
    user.parameters = { ...user.parameters!, periodSeconds: 500 };
    assert.equal(await renew(auth.client_token), 100);
  });

  test('a user or a mount that is gone ends the renewals, not the token', async () => {
    for (const isMountGone of [false, true]) {
      const { user, mounts, tokens, logIn, renew } = await setUp();
      const { auth } = await logIn({ ttlSeconds: 60 });
      if (isMountGone) mounts.clear();
      else user.parameters = undefined;
      await assert.rejects(renew(auth.client_token), (error) => isPurserError(error, 'ERR_REQUEST_INVALID'));
      assert.equal((await tokens.lookup(auth.client_token))!.expiresAt, START + 60_000);
    }
  });
});

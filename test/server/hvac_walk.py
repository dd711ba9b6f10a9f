"""hvac, the Python client of Vault as Debian packages it, against a new core: python3 hvac_walk.py ADDRESS CA.

Walks what Purser covers and checks what comes back, or which exception: hvac's are chosen by the status code alone. Prints each step;
the first that fails ends it with a traceback. Runs with hvac 0.11 (Debian 12) and later.
"""

import sys
import warnings

import hvac
from hvac import exceptions

warnings.simplefilter('ignore')
ADDRESS, CA = sys.argv[1:]
client = hvac.Client(url=ADDRESS, verify=CA)


def step(name):
    print(name, flush=True)


def stranger(token=None):
    return hvac.Client(url=ADDRESS, token=token, verify=CA)


def equal(found, expected):
    assert found == expected, f'{found!r}, not {expected!r}'


def raises(exception, action):
    try:
        action()
    except exception:
        return
    raise AssertionError(f'{exception.__name__} was not raised')


step('initialize, unseal, authenticate')
equal(client.sys.is_initialized(), False)
made = client.sys.initialize(3, 2)
keys = made['keys']
equal(len(keys), 3)
equal(client.sys.is_sealed(), True)
equal(client.sys.submit_unseal_key(keys[0])['progress'], 1)
equal(client.sys.submit_unseal_keys(keys[1:])['sealed'], False)
equal(client.is_authenticated(), False)
client.token = made['root_token']
equal(client.is_authenticated(), True)
equal(client.sys.read_seal_status()['t'], 2)
equal(client.sys.read_leader_status()['ha_enabled'], False)
equal(client.sys.read_health_status().status_code, 200)

step('mounts: enable, tune, move, disable')
client.sys.enable_secrets_engine('kv', path='one', options={'version': '1'})
client.sys.tune_mount_configuration('one', default_lease_ttl='1h')
equal(client.sys.read_mount_configuration('one')['data']['default_lease_ttl'], 3600)
client.sys.move_backend('one', 'old')
assert {'old/', 'secret/', 'sys/', 'cubbyhole/', 'identity/'} <= set(client.sys.list_mounted_secrets_engines()['data'])
client.sys.enable_secrets_engine('kv-v2', path='gone')
client.sys.disable_secrets_engine('gone')
assert 'gone/' not in client.sys.list_mounted_secrets_engines()['data']

step('kv version 1')
kv1 = client.secrets.kv.v1
kv1.create_or_update_secret('db/prod', {'password': 'one'}, mount_point='old')
read = kv1.read_secret('db/prod', mount_point='old')
equal((read['data'], read['lease_duration']), ({'password': 'one'}, 3600))
equal(kv1.list_secrets('', mount_point='old')['data']['keys'], ['db/'])
kv1.delete_secret('db/prod', mount_point='old')
raises(exceptions.InvalidPath, lambda: kv1.read_secret('db/prod', mount_point='old'))

step('kv version 2')
kv = client.secrets.kv.v2
equal(kv.create_or_update_secret('db/prod', {'user': 'app', 'password': 'one'})['data']['version'], 1)
raises(exceptions.InvalidRequest, lambda: kv.create_or_update_secret('db/prod', {'password': 'x'}, cas=7))
kv.patch('db/prod', {'password': 'two'})
equal(kv.read_secret_version('db/prod')['data']['data'], {'user': 'app', 'password': 'two'})
equal(kv.read_secret_version('db/prod', version=1)['data']['data']['password'], 'one')
kv.update_metadata('db/prod', max_versions=5, delete_version_after='10h')
metadata = kv.read_secret_metadata('db/prod')['data']
equal((metadata['current_version'], metadata['max_versions'], metadata['delete_version_after']), (2, 5, '10h0m0s'))
equal(kv.list_secrets('')['data']['keys'], ['db/'])
raises(exceptions.InvalidPath, lambda: kv.list_secrets('none'))
kv.delete_latest_version_of_secret('db/prod')
raises(exceptions.InvalidPath, lambda: kv.read_secret_version('db/prod'))
kv.undelete_secret_versions('db/prod', [2])
kv.destroy_secret_versions('db/prod', [1])
raises(exceptions.InvalidPath, lambda: kv.read_secret_version('db/prod', version=1))
equal(kv.read_secret_version('db/prod')['data']['metadata']['version'], 2)
kv.configure(max_versions=9)
equal(kv.read_configuration()['data']['max_versions'], 9)
kv.delete_metadata_and_all_versions('db/prod')
raises(exceptions.InvalidPath, lambda: kv.read_secret_metadata('db/prod'))

step('policies and capabilities')
client.sys.create_or_update_policy('app', 'path "secret/data/*" { capabilities = ["read"] }')
client.sys.create_or_update_policy('dict', {'path': {'secret/*': {'capabilities': ['list']}}})
assert {'app', 'dict', 'default', 'root'} == set(client.sys.list_policies()['data']['policies'])
assert 'secret/data/*' in client.sys.read_policy('app')['data']['rules']
client.sys.delete_policy('dict')
equal(client.sys.get_capabilities(['secret/data/x'])['data']['secret/data/x'], ['root'])

step('tokens')
token = client.auth.token.create(policies=['app'], ttl='1h', num_uses=50, display_name='ci', meta={'a': 'b'})['auth']
equal(sorted(token['policies']), ['app', 'default'])
looked = client.auth.token.lookup(token['client_token'])['data']
equal((looked['display_name'], looked['meta'], looked['num_uses']), ('token-ci', {'a': 'b'}, 50))
equal(client.auth.token.lookup_accessor(token['accessor'])['data']['id'], '')
equal(client.auth.token.renew(token['client_token'], increment='30m')['auth']['lease_duration'], 1800)
equal(client.sys.get_capabilities(['secret/data/x'], token=token['client_token'])['data']['capabilities'], ['read'])
equal(stranger(token['client_token']).auth.token.lookup_self()['data']['accessor'], token['accessor'])
raises(exceptions.Forbidden, lambda: stranger(token['client_token']).secrets.kv.v2.create_or_update_secret('x', {'a': 'b'}))
raises(exceptions.Forbidden, lambda: stranger('hvs.none').secrets.kv.v2.read_secret_version('x'))
client.auth.token.create_or_update_role('ci', allowed_policies=['app'], orphan=True, path_suffix='x')
equal(client.auth.token.read_role('ci')['data']['allowed_policies'], ['app'])
equal(client.auth.token.list_roles()['data']['keys'], ['ci'])
client.auth.token.delete_role('ci')
client.auth.token.revoke_accessor(token['accessor'])
raises(exceptions.InvalidRequest, lambda: client.auth.token.revoke_accessor(token['accessor']))
raises(exceptions.Forbidden, lambda: stranger(token['client_token']).auth.token.lookup_self())

step('userpass')
client.sys.enable_auth_method('userpass')
users = client.auth.userpass
users.create_or_update_user('mary', 'first-password', policies=['app'])
equal(users.list_user()['data']['keys'], ['mary'])
equal(sorted(stranger().auth.userpass.login('mary', 'first-password')['auth']['policies']), ['app', 'default'])
users.update_password_on_user('mary', 'second-password')
raises(exceptions.InvalidRequest, lambda: stranger().auth.userpass.login('mary', 'first-password'))
users.delete_user('mary')
client.sys.tune_auth_method('userpass', default_lease_ttl='1h')
equal(client.sys.read_auth_method_tuning('userpass')['data']['default_lease_ttl'], 3600)
client.sys.disable_auth_method('userpass')
assert 'userpass/' not in client.sys.list_auth_methods()['data']

step('approle')
client.sys.enable_auth_method('approle')
roles = client.auth.approle
roles.create_or_update_approle('web', token_policies=['app'], secret_id_ttl='10m', token_ttl='20m')
equal(roles.list_roles()['data']['keys'], ['web'])
equal(roles.read_role('web')['data']['token_ttl'], 1200)
role_id = roles.read_role_id('web')['data']['role_id']
secret = roles.generate_secret_id('web', metadata={'host': 'one'})['data']
login = stranger().auth.approle.login(role_id, secret['secret_id'])['auth']
equal((login['metadata'], login['lease_duration']), ({'host': 'one', 'role_name': 'web'}, 1200))
equal(roles.read_secret_id('web', secret['secret_id'])['data']['metadata'], {'host': 'one'})
equal(roles.list_secret_id_accessors('web')['data']['keys'], [secret['secret_id_accessor']])
roles.destroy_secret_id_accessor('web', secret['secret_id_accessor'])
raises(exceptions.InvalidRequest, lambda: stranger().auth.approle.login(role_id, secret['secret_id']))
roles.create_custom_secret_id('web', 'a-secret-id-of-my-own-0123')
roles.update_role_id('web', 'web-servers')
equal(stranger().auth.approle.login('web-servers', 'a-secret-id-of-my-own-0123')['auth']['metadata']['role_name'], 'web')
roles.delete_role('web')

step('identity')
identity = client.secrets.identity
entity = identity.create_or_update_entity('bob', metadata={'team': 'shop'}, policies=['app'])['data']['id']
accessor = client.sys.list_auth_methods()['data']['approle/']['accessor']
alias = identity.create_or_update_entity_alias('bobby', entity, accessor)['data']['id']
group = identity.create_or_update_group('shop', policies=['app'], member_entity_ids=[entity])['data']['id']
equal(identity.read_entity(entity)['data']['metadata'], {'team': 'shop'})
equal(identity.lookup_entity(name='bob')['data']['id'], entity)
equal(identity.read_entity_alias(alias)['data']['canonical_id'], entity)
equal(identity.read_group(group)['data']['member_entity_ids'], [entity])
identity.delete_entity_alias(alias)
identity.delete_group(group)
identity.delete_entity(entity)

step('wrapping')
wrapped = client.auth.token.create(policies=['app'], wrap_ttl='1m')['wrap_info']
equal(sorted(client.sys.unwrap(wrapped['token'])['auth']['policies']), ['app', 'default'])
raises(exceptions.InvalidRequest, lambda: client.sys.unwrap(wrapped['token']))
equal(client.read('sys/mounts', wrap_ttl='60s')['wrap_info']['creation_path'], 'sys/mounts')

step('audit devices')
client.sys.enable_audit_device('file', path='second', options={'file_path': 'second.log'})
assert 'second/' in client.sys.list_enabled_audit_devices()['data']
assert client.sys.calculate_hash('second', 'x')['data']['hash'].startswith('hmac-sha256:')
client.sys.disable_audit_device('second')

step('leases')
raises(exceptions.InvalidRequest, lambda: client.sys.read_lease('none'))
raises(exceptions.InvalidRequest, lambda: client.sys.renew_lease('none'))
client.sys.revoke_lease('none')
client.sys.revoke_prefix('old/')
client.sys.revoke_force('old/')

step('rotate and rekey')
client.sys.rotate_encryption_key()
equal(client.read('sys/key-status')['data']['term'], 2)
nonce = client.sys.start_rekey(secret_shares=1, secret_threshold=1)['nonce']
client.sys.rekey(keys[0], nonce=nonce)
fresh = client.sys.rekey(keys[2], nonce=nonce)
equal((fresh['complete'], len(fresh['keys'])), (True, 1))
equal(client.sys.read_root_generation_progress()['started'], False)

step('seal and unseal with the new share')
client.sys.seal()
equal(client.sys.is_sealed(), True)
raises(exceptions.VaultDown, lambda: client.read('secret/data/x'))
equal(client.sys.submit_unseal_key(fresh['keys'][0])['sealed'], False)
equal(client.is_authenticated(), True)
print('done')

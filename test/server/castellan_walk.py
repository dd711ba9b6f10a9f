"""Castellan, with which OpenStack's services keep their keys in Vault, as Debian packages it, against a new core: python3 castellan_walk.py ADDRESS CA.

It speaks HTTP itself, without hvac. What it asks of a core: kv of both versions, the login of an AppRole, and statuses that it tells apart.
"""

import sys
import tempfile

import requests
from castellan import key_manager
from castellan.common import exception
from castellan.common.objects import passphrase, symmetric_key
from oslo_config import cfg

ADDRESS, CA = sys.argv[1:]


def step(name):
    print(name, flush=True)


def call(path, token=None, **body):
    answer = requests.put(f'{ADDRESS}/v1/{path}', json=body, verify=CA, headers={'X-Vault-Token': token} if token else {})
    answer.raise_for_status()
    return answer.json() if answer.content else {}


def manager(**options):
    """A key manager as a service gets it: from its configuration file."""
    with tempfile.NamedTemporaryFile('w', suffix='.conf') as file:
        lines = {'vault_url': ADDRESS, 'ssl_ca_crt_file': CA, 'use_ssl': True, **options}
        file.write('[key_manager]\nbackend = vault\n[vault]\n' + ''.join(f'{key} = {value}\n' for key, value in lines.items()))
        file.flush()
        conf = cfg.ConfigOpts()
        conf(['--config-file', file.name])
        return key_manager.API(conf)


def raises(kind, action, text=''):
    try:
        action()
    except kind as error:
        assert text in str(error), str(error)
        return
    raise AssertionError(f'{kind.__name__} was not raised')


step('a core with two mounts and a role')
made = call('sys/init', secret_shares=1, secret_threshold=1)
root, share = made['root_token'], made['keys'][0]
raises(exception.KeyManagerError, lambda: manager(root_token_id=root).get(None, 'x'), 'Service Unavailable')
call('sys/unseal', key=share)
call('sys/mounts/keys', root, type='kv-v2')
call('sys/mounts/old', root, type='kv', options={'version': '1'})
call('sys/policies/acl/nova', root, policy='path "keys/*" { capabilities = ["create", "update", "read", "list", "delete"] }')
call('sys/auth/approle', root, type='approle')
call('auth/approle/role/nova', root, token_policies='nova', token_ttl='20m')
call('auth/approle/role/nova/role-id', root, role_id='nova')
secret_id = call('auth/approle/role/nova/secret-id', root)['data']['secret_id']
approle = {'approle_role_id': 'nova', 'approle_secret_id': secret_id}

for name, keys in {
    'kv version 2': manager(root_token_id=root, kv_mountpoint='keys'),
    'kv version 1': manager(root_token_id=root, kv_mountpoint='old', kv_version=1),
    'kv version 2 as an AppRole': manager(kv_mountpoint='keys', **approle),
}.items():
    step(name)
    assert keys.list(None) == []
    made = keys.create_key(None, 'AES', 256)
    key = keys.get(None, made)
    assert (key.algorithm, key.bit_length, key.name, len(key.get_encoded())) == ('AES', 256, made, 32)
    assert keys.get(None, made, metadata_only=True).is_metadata_only()
    word = keys.store(None, passphrase.Passphrase('päss'.encode(), name='Müller'))
    assert (keys.get(None, word).get_encoded().decode(), keys.get(None, word).name) == ('päss', 'Müller')
    private, public = keys.create_key_pair(None, 'RSA', 2048)
    assert keys.get(None, private).format == 'PKCS8' and keys.get(None, public).format == 'SubjectPublicKeyInfo'
    assert {found.id for found in keys.list(None)} == {made, word, private, public}
    assert [found.id for found in keys.list(None, symmetric_key.SymmetricKey)] == [made]
    for one in (made, word, private, public):
        keys.delete(None, one)
    raises(exception.ManagedObjectNotFoundError, lambda: keys.get(None, made))
    assert keys.list(None) == []

step('refusals')
raises(exception.Forbidden, lambda: manager(kv_mountpoint='old', kv_version=1, **approle).create_key(None, 'AES', 256))
raises(exception.Forbidden, lambda: manager(root_token_id='hvs.none', kv_mountpoint='keys').list(None))
raises(exception.KeyManagerError, lambda: manager(**{**approle, 'approle_secret_id': 'none'}).get(None, 'x'), 'invalid role or secret ID')
call('sys/seal', root)
raises(exception.KeyManagerError, lambda: manager(root_token_id=root, kv_mountpoint='keys').list(None), 'Service Unavailable')
print('done')

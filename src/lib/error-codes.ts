// The closed list of error codes, each with what it means. ERR_<AREA>_<WHAT>; grouped by area, one line each.
// test/lib/error-codes.test.ts holds every code in the source against this list.

export const ERROR_CODES = {
  ERR_STORAGE_CLOSED: 'the store was used after it was closed',
  ERR_STORAGE_LOCKED: 'another process uses the data directory',
  ERR_STORAGE_FULL: 'the disk or the store is full',
  ERR_STORAGE_FAILED: 'the store could not be read or written',
  ERR_STORAGE_KEY: 'a storage key is empty, too long or malformed',

  ERR_BARRIER_SEALED: 'the core is sealed',
  ERR_RECORD_INVALID: 'a stored record opened, but its content is not what this program writes',
  ERR_BARRIER_OPEN: 'a stored record does not open: it was altered, moved, truncated or written under another key',
  ERR_SEAL_CONFIG: 'the seal configuration is not valid',
  ERR_SEAL_INITIALIZED: 'the core is already initialized',
  ERR_SEAL_UNINITIALIZED: 'the core is not initialized',
  ERR_SEAL_FILE: 'the auto-unseal file is missing, too readable or malformed',
  ERR_SEAL_SHARE: 'an unseal share is malformed or the shares do not fit together',
  ERR_SEAL_ATTEMPT: 'there is no such rekey or root generation under way, or another one is',

  ERR_REFERENCE_SYNTAX: 'a secret reference is malformed',
  ERR_TEMPLATE_SYNTAX: 'a template of a secret file is malformed or uses more than is allowed',
  ERR_TEMPLATE_RENDER: 'a template of a secret file cannot be rendered with the values of its secrets',
  ERR_POLICY_SYNTAX: 'a policy does not parse or is not valid',
  ERR_DURATION_SYNTAX: 'a duration is malformed',

  ERR_REQUEST_INVALID: 'the request is not valid',
  ERR_REQUEST_DENIED: 'the token may not do this, or there is no such token',
  ERR_REQUEST_NOT_FOUND: 'there is nothing at this path',
  ERR_REQUEST_UNSUPPORTED: 'the path does not support this operation',
  ERR_REQUEST_TOO_LARGE: 'the request is larger than allowed',
  ERR_REQUEST_BUSY: 'too many requests are being received at the same time',
  ERR_REQUEST_MEDIA_TYPE: 'the content type does not fit the operation',

  ERR_LOGIN_INVALID: 'the credentials of a login are not valid',
  ERR_AUTH_PROVIDER: 'the server that an auth method relies on could not be asked',

  ERR_AUDIT_REFUSED: 'no audit device took the entry, so the request was refused',
  ERR_AUDIT_FILE: 'an audit file cannot be opened or written safely',
  ERR_AUDIT_CHAIN: 'an audit file is missing, was cut or was changed',

  ERR_CONFIG_INVALID: 'a configuration file, flag or environment variable is not valid',
  ERR_STATE_CORRUPT: 'a state file is unreadable, half written or altered',
  ERR_STATE_WRITE: 'a state file could not be written',
  ERR_STATE_LOCK: 'a lock file could not be opened or locked',
  ERR_STATE_LOCKED: 'another process uses this state directory or socket',

  ERR_CLIENT_UNREACHABLE: 'the core cannot be reached',
  ERR_CLIENT_TLS: 'the certificate of the core is not the pinned one',
  ERR_CLIENT_RESPONSE: 'the core answered with an error',
  ERR_CLIENT_PROTOCOL: 'the core answered with something that is not its protocol',

  ERR_RESOLVE_DENIED: 'no workload role grants this reference to this container',
  ERR_RESOLVE_NOT_FOUND: 'the secret or its version does not exist',
  ERR_RESOLVE_FIELD: 'the secret has no such field, or the field does not fit the encoding',
  ERR_RESOLVE_SIZE: 'the value is empty or larger than Docker Swarm takes',
  ERR_RESOLVE_FAILED: 'the secret is granted but could not be read',

  ERR_NODE_JOIN: 'the join token is wrong, used or expired',
  ERR_NODE_JOINED: 'this machine has an identity already',
  ERR_NODE_UNJOINED: 'this machine has not joined a core',
  ERR_NODE_REVOKED: 'the node was revoked or is not known',
  ERR_NODE_LEDGER: 'a usage batch leaves a gap in its sequence, or the node has too many spools',
  ERR_NODE_CLOCK: 'the clocks of node and core differ too much',

  ERR_NOTIFY_DELIVERY: 'a notification could not be delivered',

  ERR_FUSE_UNAVAILABLE: 'the kernel offers no FUSE, or the filesystem could not be mounted',
  ERR_FUSE_PROTOCOL: 'the kernel spoke a FUSE version or message this program does not know',

  ERR_RUNTIME_CONFIG: 'the Docker daemon configuration cannot be read or merged safely',
  ERR_RUNTIME_BUNDLE: 'the container bundle cannot be read or changed',
  ERR_RUNTIME_STRICT: 'this host cannot keep values out of the environment blocks of child processes (purser.env=strict)',
  ERR_DOCKER_ACTION: 'a container could not be restarted, or a command could not be run in it',
  ERR_DOCKER_UNAVAILABLE: 'no Docker daemon answers',
  ERR_WORKLOAD_INVALID: 'the declarations of a container (labels, variables, mounts) are not valid',

  ERR_CLI_USAGE: 'the command line is not valid',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

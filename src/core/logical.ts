// What the router hands to a secrets engine or an auth method, and what it gets back. Engines know their view, never the
// barrier, the token that asks, or each other.

import type { View } from './view.ts';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };
export type JsonObject = { readonly [key: string]: JsonValue };

/** Vault's operations (reference: sdk/logical/request.go). PUT and POST arrive as 'create' or 'update', see `Engine.exists`. */
export type Operation = 'create' | 'read' | 'update' | 'patch' | 'delete' | 'list';

export interface LogicalRequest {
  readonly operation: Operation;
  /** Relative to the mount, decoded, normalised: no leading '/', no empty, '.' or '..' segment. A list path keeps one trailing '/'. */
  readonly path: string;
  /** The mount point with trailing '/', such as `secret/`. */
  readonly mountPoint: string;
  /** Body fields, or query parameters for read, list and delete. A JSON null is the same as an absent field, and left out but for `verbatimPaths`. */
  readonly data: JsonObject;
  /** Who asks, for methods that need it (token store); absent on unauthenticated paths. */
  readonly caller?: Caller;
  /** The token that was shown, whatever it is worth: for the paths of the server itself that need no token. */
  readonly shownToken?: string;
  /** For how long the client wants the response wrapped; absent: not at all. */
  readonly wrapTtlSeconds?: number;
  readonly remoteAddress: string;
}

/** The authenticated caller, as the pipeline established it. */
export interface Caller {
  readonly tokenId: string;
  /** Names what belongs to the token; a keyed hash. Empty for a batch token, to which nothing can belong. */
  readonly tokenKey: string;
  readonly accessor: string;
  /** Those of the token and of its entity. */
  readonly policies: readonly string[];
  /** The identity of the token; absent or empty for none. */
  readonly entityId?: string;
  readonly displayName: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly isRoot: boolean;
  /** The mount-qualified path that created the token, such as `auth/node/login`. */
  readonly path: string;
  /** True when the policies give sudo on the path of the present request. */
  readonly hasSudo: boolean;
}

export interface LogicalResponse {
  readonly data?: JsonObject | null;
  /** What the audit log keeps instead of `data`, where that is long and comes from the log itself or the ledger. */
  readonly auditData?: JsonObject | null;
  /**
   * Stands for `data`: the same object every time the data are the same, and for no other data. Audit then hashes them once per
   * object; it keeps the hashes, not the data. Not together with other members.
   */
  readonly sameData?: object;
  readonly warnings?: readonly string[];
  /** The `auth` object of Vault's envelope, for logins and token creation. */
  readonly auth?: JsonObject;
  /** `auth` is that of a token made for this response: it ends if the response is not sent. */
  readonly isNewToken?: boolean;
  /** Of an auth method only: the server makes a token of it and puts it into `auth`. */
  readonly login?: Login;
  /** Overrides the status that the pipeline derives (KV version 2 answers 404 with a body). */
  readonly status?: number;
  /** Vault copies `data` to the top level for some sys paths. */
  readonly copyDataToTop?: boolean;
  /** The reply is `data` alone, without Vault's envelope (OpenID Connect documents). */
  readonly isBare?: boolean;
  /** Of an engine: the secret is to be taken back. The server registers it and fills the three members below. */
  readonly lease?: LeaseOffer;
  /** The reply is this text (metrics), instead of `data`. */
  readonly text?: { readonly contentType: string; readonly body: string };
  readonly leaseId?: string;
  readonly leaseSeconds?: number;
  readonly renewable?: boolean;
  /** Of the server: the response was wrapped, and this stands for it. */
  readonly wrapInfo?: JsonObject;
}

/** How long a secret lasts, in seconds, as its engine wants it; 0: as the mount is tuned. */
export interface LeaseTerms {
  readonly ttlSeconds: number;
  readonly maxTtlSeconds: number;
}

/** A secret that an engine has made and the core is to take back. */
export interface LeaseOffer extends LeaseTerms {
  readonly renewable: boolean;
  /** What the engine needs to renew and revoke it; kept in the barrier. */
  readonly state: JsonObject;
}

/** A lease, as its engine gets it back. */
export interface HeldLease {
  /** For messages to the operator. */
  readonly id: string;
  readonly state: JsonObject;
  /** Milliseconds since the epoch. */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** An engine whose responses carry a `lease`. Optional ability, apart from Engine. Both calls may come after a restart of the core. */
export interface LeaseKeeper {
  /**
   * Lets the secret live on, from now.
   * @param incrementSeconds the wish; the engine may grant less. The core caps the result by the mount and by the terms of the lease
   * @returns the new terms, and the new `state` if it changed
   * @throws PurserError when it must not be renewed
   */
  renewLease(lease: HeldLease, incrementSeconds: number): Promise<LeaseTerms & { readonly state?: JsonObject }>;
  /**
   * Takes the secret back. What is gone already is done: the call is repeated until it succeeds once, and after a crash even then.
   * @throws PurserError with a reason for the operator, without values
   */
  revokeLease(lease: HeldLease): Promise<void>;
}

export interface Engine {
  /**
   * Handles one request that passed policy and audit. Undefined means "done, nothing to say" (204) or, for read and list,
   * "not there" (404).
   * @throws PurserError: the table in server/error-status.ts decides the HTTP status
   */
  handle(request: LogicalRequest): Promise<LogicalResponse | undefined>;
  /** The whole data of requests and responses is secret content, so audit hashes numbers in it too, not only texts. */
  readonly isSecretThroughout?: boolean;
  /** For POST and PUT: true makes the operation 'update', false 'create'. Engines without it always get 'update'. */
  exists?(request: LogicalRequest): Promise<boolean>;
  /** The mount goes away or gets another engine: refuses further changes, and resolves when those under way are done. */
  close?(): Promise<void>;
  /** Paths (relative, Vault's `root paths` notation: exact or trailing '*') that need sudo on top of the capability. */
  readonly sudoPaths?: readonly string[];
  /** Paths (relative) that need no token. */
  readonly unauthenticatedPaths?: readonly string[];
  /** Paths (relative) where the body of a write is what is kept, and a null at its top a value of it. */
  readonly verbatimPaths?: readonly string[];
}

/** The fields `token_*` of Vault's roles and users: what the token of a login may do. Lengths in seconds; 0 is "not set". */
export interface TokenParameters {
  readonly policies: readonly string[];
  readonly ttlSeconds: number;
  /** Counted from the login; a renewal takes the method's current one. */
  readonly maxTtlSeconds: number;
  readonly explicitMaxTtlSeconds: number;
  readonly periodSeconds: number;
  readonly numUses: number;
  /** From where the token may be used; empty is everywhere. */
  readonly boundCidrs: readonly string[];
  readonly noDefaultPolicy: boolean;
  /** Empty: what the mount is tuned to. */
  readonly type: '' | 'service' | 'batch';
}

/** A login that an auth method found good. */
export interface Login {
  /** Who logged in, unique within the mount: the alias of the identity. */
  readonly alias: { readonly name: string; readonly metadata?: Readonly<Record<string, string>> };
  /** The groups that the provider says the user is in, for the external groups of the identity store. */
  readonly groups?: readonly string[];
  /** Follows the name of the mount in the token's display name; may be empty. */
  readonly displayName: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly token: TokenParameters;
  /** Kept with the token and handed to renewLogin(): what the method needs to find the login again. No secret. */
  readonly state: Readonly<Record<string, string>>;
}

/** A login to be renewed. */
export interface LoginRenewal extends Pick<Login, 'state'> {
  /** Those of the token. */
  readonly policies: readonly string[];
}

/** An engine below `auth/` whose `login` responses become tokens (server/logins.ts). */
export interface AuthMethod extends Engine {
  /**
   * Asked at each renewal of a token that the method's login made.
   * @returns the parameters as they are now, of which the lengths of life count
   * @throws ERR_REQUEST_INVALID when the login would not be renewed, such as for a user who is gone
   */
  renewLogin(renewal: LoginRenewal): Promise<TokenParameters>;
  /**
   * For methods whose credentials can be guessed: the name that a login counts for when it fails with ERR_LOGIN_INVALID, whether
   * there is such a name or not; undefined for what is no login.
   */
  loginName?(request: LogicalRequest): string | undefined;
  /** Removes what has ended; called every few minutes. */
  tidy?(): Promise<void>;
}

export interface EngineContext {
  readonly view: View;
  /** Milliseconds since the epoch; tests inject one. */
  readonly now: () => number;
}

/** An engine whose secrets a reference can name (`purser://<mount><path>`). Optional ability, apart from Engine. */
export interface SecretSource {
  /** The mount-relative API path that policies speak of: `db/prod` → `data/db/prod` for KV version 2. */
  policyPath(path: string): string;
  /** The mount-relative API path whose LIST names the secrets in `folder` (empty, or ending in '/'). */
  listPath(folder: string): string;
  /**
   * The secret at `path`, or undefined when it, or the version asked for, does not exist (deleted and destroyed count as not there).
   * @param version a positive version number, or undefined for the current one
   */
  readSecret(path: string, version?: number): Promise<{ readonly data: JsonObject; readonly version: number } | undefined>;
  /** What is known of a secret without its value: the current version (0: none reads) and its custom metadata. Optional, and cheap. */
  describeSecret?(path: string): Promise<SecretFacts | undefined>;
}

export interface SecretFacts {
  readonly version: number;
  /** When that version was made, in milliseconds since the epoch. */
  readonly created: number;
  readonly custom: Readonly<Record<string, string>>;
}

/** Told after a commit is durable: the secret at the mount-relative `path` now has `version` as its current one (0: none left). */
export type SecretChangeListener = (path: string, version: number) => void;

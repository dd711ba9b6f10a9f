// The token method, mounted at `auth/token/`: Vault's paths over the TokenStore. Every rule about who may do what is checked
// here or in create-rules.ts on top of the policies, which the pipeline has applied.

import type { Caller, Engine, JsonObject, LogicalRequest, LogicalResponse, Operation } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { durationField, stringField } from '../../lib/fields.ts';
import { tokenSpec, wishedAlias } from './create-rules.ts';
import type { Creator } from './create-rules.ts';
import type { RenewalTerms } from './lifetime.ts';
import { authObject, lookupData } from './token-json.ts';
import type { TokenRole } from './token-role.ts';
import type { TokenRoles } from './token-roles.ts';
import type { AskTerms, TokenEntry, TokenStore } from './token-store.ts';

export interface TokenEngineOptions {
  readonly store: TokenStore;
  readonly roles: TokenRoles;
  readonly now: () => number;
  /** For the warning about policies that are not there (yet). */
  readonly policyExists: (name: string) => Promise<boolean>;
  /** Asks the method whose login made a token; absent: every token is renewed on its own terms. */
  readonly askTerms?: AskTerms;
  /** What the entity of a token adds to its policies; absent: nothing. */
  readonly identityPolicies?: (entityId: string) => Promise<readonly string[]>;
  /** The entity that a token with an `entity_alias` belongs to; absent: there is no identity store. @throws when there is none */
  readonly entityOf?: (alias: string) => Promise<string>;
  /** How the mount is tuned, in seconds; absent: the system's defaults. */
  readonly ttls?: () => { readonly defaultTtlSeconds: number; readonly maxTtlSeconds: number };
  /** Told when a tidy() that nobody waits for failed. */
  readonly onFault?: (error: unknown) => void;
}

type Handler = (request: LogicalRequest, caller: Caller) => Promise<LogicalResponse | undefined>;
interface Route { readonly operations: readonly Operation[]; readonly handle: Handler }

const WRITE = ['create', 'update'] as const;

export class TokenEngine implements Engine {
  readonly sudoPaths = ['accessors*', 'revoke-orphan/*'];
  readonly #options: TokenEngineOptions;
  readonly #store: TokenStore;
  readonly #routes: ReadonlyMap<string, Route>;
  #isTidying = false;

  constructor(options: TokenEngineOptions) {
    this.#options = options;
    this.#store = options.store;
    const { roles } = options;
    this.#routes = new Map<string, Route>([
      ['create', { operations: WRITE, handle: (request, caller) => this.#create(request, caller) }],
      ['create-orphan', { operations: WRITE, handle: (request, caller) => this.#create(request, caller, { orphan: true }) }],
      ['lookup', { operations: [...WRITE, 'read'], handle: (request, caller) => this.#lookup(stringField(request.data, 'token') ?? caller.tokenId, caller) }],
      ['lookup-self', { operations: [...WRITE, 'read'], handle: (_request, caller) => this.#lookup(caller.tokenId, caller) }],
      ['lookup-accessor', { operations: WRITE, handle: (request) => this.#lookupAccessor(accessorOf(request.data)) }],
      ['renew', { operations: WRITE, handle: (request, caller) => this.#renew(stringField(request.data, 'token') ?? caller.tokenId, request) }],
      ['renew-self', { operations: WRITE, handle: (request, caller) => this.#renew(caller.tokenId, request) }],
      ['renew-accessor', { operations: WRITE, handle: (request) => this.#renewAccessor(request) }],
      ['revoke', { operations: WRITE, handle: (request) => this.#revoke(tokenOf(request.data)) }],
      ['revoke-self', { operations: WRITE, handle: (_request, caller) => this.#revoke(caller.tokenId) }],
      ['revoke-accessor', { operations: WRITE, handle: (request) => this.#revokeAccessor(accessorOf(request.data)) }],
      ['revoke-orphan', { operations: WRITE, handle: (request, caller) => this.#revokeOrphan(request, caller) }],
      ['accessors/', { operations: ['list'], handle: () => this.#listAccessors() }],
      ['tidy', { operations: WRITE, handle: async () => this.#tidy() }],
      ['roles/', { operations: ['list'], handle: () => roles.list() }],
    ]);
  }

  async handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    const route = this.#routes.get(request.path) ?? this.#roleRoute(request.path);
    if (route === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', 'unsupported path');
    if (!route.operations.includes(request.operation)) throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
    if (request.caller === undefined) throw denied('permission denied');
    return route.handle(request, request.caller);
  }

  async exists({ path }: LogicalRequest): Promise<boolean> {
    const [, name] = /^roles\/([^/]+)$/.exec(path) ?? [];
    return name === undefined || await this.#options.roles.find(name) !== undefined;
  }

  #roleRoute(path: string): Route | undefined {
    const { roles } = this.#options;
    const [, kind, name = ''] = /^(create|roles)\/([^/]+)$/.exec(path) ?? [];
    if (kind === 'create') return { operations: WRITE, handle: (request, caller) => this.#create(request, caller, { role: name }) };
    if (kind !== 'roles') return undefined;
    return {
      operations: [...WRITE, 'read', 'delete'],
      handle: ({ operation, data }) => (operation === 'read' ? roles.read(name) : operation === 'delete' ? roles.delete(name) : roles.write(name, data)),
    };
  }

  async #create(request: LogicalRequest, caller: Caller, by: { readonly orphan?: boolean; readonly role?: string } = {}): Promise<LogicalResponse> {
    const creator = await this.#creator(caller);
    const role = by.role === undefined ? undefined : await this.#role(by.role, `unknown role ${by.role}`);
    const spec = tokenSpec(request.data, creator, {
      orphan: by.orphan ?? false, path: request.mountPoint + request.path, ...this.#options.ttls?.(), ...(role === undefined ? {} : { role: { name: by.role!, role } }),
    });
    const entityId = await this.#entity(wishedAlias(request.data, role));
    const { id, entry, warnings } = await this.#store.create(entityId === undefined ? spec : { ...spec, entityId });
    const missing = await this.#missingPolicies(entry.policies);
    return { isNewToken: true, auth: authObject(id, entry, this.#options.now(), await this.#identityPolicies(entry)), warnings: [...warnings, ...missing] };
  }

  async #identityPolicies({ entityId }: TokenEntry): Promise<readonly string[]> {
    return this.#options.identityPolicies?.(entityId) ?? [];
  }

  async #role(name: string, problem: string): Promise<TokenRole> {
    const role = await this.#options.roles.find(name);
    if (role === undefined) throw invalid(problem);
    return role;
  }

  async #entity(alias: string | undefined): Promise<string | undefined> {
    if (alias === undefined) return undefined;
    if (this.#options.entityOf === undefined) throw invalid('entity aliases are not offered');
    return this.#options.entityOf(alias);
  }

  /** A role may have been narrowed or removed since: it counts as it is now. */
  #askTerms = async (entry: TokenEntry): Promise<RenewalTerms | undefined> => {
    const maxTtlSeconds = this.#options.ttls?.().maxTtlSeconds ?? 0;
    if (entry.role === '') return entry.login === null ? { ...entry, maxTtlSeconds } : this.#options.askTerms?.(entry);
    const { periodSeconds } = await this.#role(entry.role, `original token role "${entry.role}" could not be found, not renewing`);
    return { ttlSeconds: entry.ttlSeconds, maxTtlSeconds, periodSeconds: periodSeconds > 0 ? Math.min(periodSeconds, entry.periodSeconds || Infinity) : entry.periodSeconds };
  };

  #tidy(): LogicalResponse {
    if (this.#isTidying) return { status: 202, warnings: ['Tidy operation already in progress.'] };
    this.#isTidying = true;
    void this.#store.tidy().catch((error: unknown) => this.#options.onFault?.(error)).finally(() => { this.#isTidying = false; });
    return { status: 202, warnings: ['Tidy operation successfully started. What could not be done is in the server log.'] };
  }

  async #creator(caller: Caller): Promise<Creator> {
    const entry = await this.#store.lookupCaller(caller.tokenId);
    if (entry === undefined) throw denied('permission denied');
    return { id: caller.tokenId, entry, hasSudo: caller.isRoot || caller.hasSudo };
  }

  async #missingPolicies(names: readonly string[]): Promise<string[]> {
    const found = await Promise.all(names.map((name) => this.#options.policyExists(name)));
    return names.filter((_name, i) => found[i] === false).map((name) => `Policy "${name}" does not exist`);
  }

  async #lookup(id: string, caller: Caller): Promise<LogicalResponse> {
    const entry = id === caller.tokenId ? await this.#store.lookupCaller(id) : await this.#store.lookup(id);
    if (entry === undefined) throw denied('bad token');
    return { data: lookupData(id, entry, this.#options.now(), await this.#identityPolicies(entry)) };
  }

  async #lookupAccessor(accessor: string): Promise<LogicalResponse> {
    const entry = await this.#store.lookupAccessor(accessor);
    if (entry === undefined) throw invalid('invalid accessor');
    return { data: lookupData('', entry, this.#options.now(), await this.#identityPolicies(entry)) };
  }

  async #renew(id: string, request: LogicalRequest): Promise<LogicalResponse> {
    const renewed = await this.#store.renew(id, increment(request.data), this.#askTerms);
    if (renewed === undefined) throw invalid('token not found');
    return this.#renewedResponse(id, renewed);
  }

  async #renewAccessor(request: LogicalRequest): Promise<LogicalResponse> {
    const renewed = await this.#store.renewByAccessor(accessorOf(request.data), increment(request.data), this.#askTerms);
    if (renewed === undefined) throw invalid('invalid accessor');
    return this.#renewedResponse('', renewed);
  }

  async #renewedResponse(id: string, { entry, warnings }: { readonly entry: TokenEntry; readonly warnings: readonly string[] }): Promise<LogicalResponse> {
    return { auth: authObject(id, entry, this.#options.now(), await this.#identityPolicies(entry)), warnings };
  }

  async #revoke(id: string): Promise<undefined> {
    await this.#store.revoke(id);
  }

  async #revokeAccessor(accessor: string): Promise<undefined> {
    if (!await this.#store.revokeByAccessor(accessor)) throw invalid('invalid accessor');
  }

  async #revokeOrphan(request: LogicalRequest, caller: Caller): Promise<undefined> {
    if (!caller.isRoot && !caller.hasSudo) throw invalid('root or sudo privileges required to revoke and orphan');
    if (!await this.#store.revokeOrphan(tokenOf(request.data))) throw invalid('token to revoke not found');
  }

  async #listAccessors(): Promise<LogicalResponse | undefined> {
    const keys: string[] = [];
    for await (const accessor of this.#store.accessors()) keys.push(accessor);
    return keys.length === 0 ? undefined : { data: { keys } };
  }
}

function tokenOf(data: JsonObject): string {
  const id = stringField(data, 'token') ?? '';
  if (id === '') throw invalid('missing token');
  return id;
}

function accessorOf(data: JsonObject): string {
  const accessor = stringField(data, 'accessor') ?? '';
  if (accessor === '') throw invalid('missing accessor');
  return accessor;
}

function increment(data: JsonObject): number {
  return durationField(data, 'increment') ?? 0;
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}

function denied(message: string): PurserError {
  return new PurserError('ERR_REQUEST_DENIED', message);
}

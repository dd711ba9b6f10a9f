// The token method, mounted at `auth/token/`: Vault's paths over the TokenStore. Every rule about who may do what is checked
// here or in create-rules.ts on top of the policies, which the pipeline has applied. Roles and batch tokens are not offered.

import type { Caller, Engine, JsonObject, LogicalRequest, LogicalResponse, Operation } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { durationField, stringField } from '../../lib/fields.ts';
import { tokenSpec } from './create-rules.ts';
import type { Creator } from './create-rules.ts';
import { authObject, lookupData } from './token-json.ts';
import type { AskTerms, TokenEntry, TokenStore } from './token-store.ts';

export interface TokenEngineOptions {
  readonly store: TokenStore;
  readonly now: () => number;
  /** For the warning about policies that are not there (yet). */
  readonly policyExists: (name: string) => Promise<boolean>;
  /** Asks the method whose login made a token; absent: every token is renewed on its own terms. */
  readonly askTerms?: AskTerms;
  /** What the entity of a token adds to its policies; absent: nothing. */
  readonly identityPolicies?: (entityId: string) => Promise<readonly string[]>;
}

type Handler = (request: LogicalRequest, caller: Caller) => Promise<LogicalResponse | undefined>;
interface Route { readonly operations: readonly Operation[]; readonly handle: Handler }

const WRITE = ['create', 'update'] as const;

export class TokenEngine implements Engine {
  readonly sudoPaths = ['accessors*', 'revoke-orphan/*'];
  readonly #store: TokenStore;
  readonly #now: () => number;
  readonly #policyExists: (name: string) => Promise<boolean>;
  readonly #askTerms: AskTerms | undefined;
  readonly #identityPolicies: (entityId: string) => Promise<readonly string[]>;
  readonly #routes: ReadonlyMap<string, Route>;

  constructor(options: TokenEngineOptions) {
    this.#store = options.store;
    this.#now = options.now;
    this.#policyExists = options.policyExists;
    this.#askTerms = options.askTerms;
    this.#identityPolicies = options.identityPolicies ?? (async () => []);
    this.#routes = new Map<string, Route>([
      ['create', { operations: WRITE, handle: (request, caller) => this.#create(request, caller, false) }],
      ['create-orphan', { operations: WRITE, handle: (request, caller) => this.#create(request, caller, true) }],
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
    ]);
  }

  async handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    const route = this.#routes.get(request.path);
    if (route === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', 'unsupported path');
    if (!route.operations.includes(request.operation)) throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
    if (request.caller === undefined) throw denied('permission denied');
    return route.handle(request, request.caller);
  }

  async #create(request: LogicalRequest, caller: Caller, orphan: boolean): Promise<LogicalResponse> {
    const creator = await this.#creator(caller);
    const spec = tokenSpec(request.data, creator, { orphan, path: request.mountPoint + request.path });
    const { id, entry, warnings } = await this.#store.create(spec);
    const missing = await this.#missingPolicies(entry.policies);
    return { auth: authObject(id, entry, this.#now(), await this.#identityPolicies(entry.entityId)), warnings: [...warnings, ...missing] };
  }

  async #creator(caller: Caller): Promise<Creator> {
    const entry = await this.#store.lookupCaller(caller.tokenId);
    if (entry === undefined) throw denied('permission denied');
    return { id: caller.tokenId, entry, hasSudo: caller.isRoot || caller.hasSudo };
  }

  async #missingPolicies(names: readonly string[]): Promise<string[]> {
    const found = await Promise.all(names.map((name) => this.#policyExists(name)));
    return names.filter((_name, i) => found[i] === false).map((name) => `Policy "${name}" does not exist`);
  }

  async #lookup(id: string, caller: Caller): Promise<LogicalResponse> {
    const entry = id === caller.tokenId ? await this.#store.lookupCaller(id) : await this.#store.lookup(id);
    if (entry === undefined) throw denied('bad token');
    return { data: lookupData(id, entry, this.#now(), await this.#identityPolicies(entry.entityId)) };
  }

  async #lookupAccessor(accessor: string): Promise<LogicalResponse> {
    const entry = await this.#store.lookupAccessor(accessor);
    if (entry === undefined) throw invalid('invalid accessor');
    return { data: lookupData('', entry, this.#now(), await this.#identityPolicies(entry.entityId)) };
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
    return { auth: authObject(id, entry, this.#now(), await this.#identityPolicies(entry.entityId)), warnings };
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

// One request through the core, stage by stage, in Vault's order (handleRequest in vault/request_handling.go): token → input →
// route → existence → policies → use → audit the request → engine → audit the response → reply. Fail closed: nothing runs
// before its audit entry is taken, and no answer leaves before its own is.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller, JsonObject, LogicalRequest, LogicalResponse, Operation } from '../core/logical.ts';
import type { AuditEntry } from '../audit/entry.ts';
import { ROOT_POLICY_NAME } from '../auth/token/policy-names.ts';
import { isWithin } from '../lib/cidr.ts';
import { PurserError } from '../lib/errors.ts';
import { traceIdOf } from '../lib/trace.ts';
import { failedEntry, requestEntry, responseEntry } from './audit-entries.ts';
import { hasBody, readBody, withoutNulls, type BodyLimits } from './http/body.ts';
import { operationOf, type Target } from './http/request-path.ts';
import type { LeaseRequest } from './lease-grants.ts';
import type { Route } from './mount-table.ts';
import type { Principal } from './principals.ts';
import { refusalOfToken, wrapTtlOf } from './wrap-request.ts';
import type { UnsealedCore } from './unsealed-core.ts';

/** One HTTP request, as the front hands it over. */
export interface Exchange {
  readonly id: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly target: Target;
  readonly remoteAddress: string;
  readonly remotePort: number;
}

export interface PipelineLimits {
  readonly authenticated: BodyLimits;
  readonly unauthenticated: BodyLimits;
}

type Access = 'policy' | 'token' | 'open';
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const SYS_PREFIX = 'sys/';

/** What the later stages know of the request. */
interface Subject {
  readonly exchange: Exchange;
  /** As it was shown, valid or not. */
  readonly tokenId: string | undefined;
  /** Who is behind the token, also where it gives no right: for the audit. */
  readonly shown: Principal | undefined;
  readonly identity: Principal | undefined;
  readonly wrapTtlSeconds: number | undefined;
  readonly route: Route | undefined;
  readonly access: Access;
  readonly operation: Operation;
  readonly data: JsonObject;
}

interface Verdict { readonly denial: PurserError | undefined; readonly grantingPolicies: readonly string[]; readonly hasSudo: boolean }

/** The response was taken over: it goes on by itself. */
export const STREAMING = Symbol('streaming');

/**
 * Runs one request.
 * @returns what the engine answered, undefined for "done" (write) or "not there" (read, list), or STREAMING
 * @throws PurserError; error-status.ts decides the reply
 */
export async function runPipeline(core: UnsealedCore, exchange: Exchange, limits: PipelineLimits): Promise<LogicalResponse | typeof STREAMING | undefined> {
  refuseUnsupportedHeaders(exchange.request);
  const wrapTtlSeconds = wrapTtlOf(exchange.request);
  const tokenId = readToken(exchange.request);
  const sender = await findPrincipal(core, tokenId);
  const input = await readInput(exchange, admit(exchange, sender) === undefined ? limits.unauthenticated : limits.authenticated);
  // A body may take its time: what was revoked or changed meanwhile must not count any more.
  const isSent = hasBody(exchange.request);
  const shown = isSent ? await findPrincipal(core, tokenId) : sender;
  const identity = admit(exchange, shown);
  const route = core.mounts.find(exchange.target.path);
  const access = accessOf(route);
  const data = isSent && !matchesAny(route?.mount.engine.verbatimPaths, route?.path ?? '') ? withoutNulls(input) : input;
  const operation = await findOperation(exchange, route, identity, access, data);
  const subject: Subject = { exchange, tokenId, shown, identity, wrapTtlSeconds, route, access, operation, data };
  const verdict = decide(subject);
  const isCounted = identity !== undefined && identity.entry.usesLeft !== null && access !== 'open';
  const use = isCounted ? await core.tokens.use(identity.tokenId) : undefined;
  const denial = isCounted && use === undefined ? refusalOfToken(exchange.target.path, true) : verdict.denial;
  try {
    const response = await core.perform(() => perform(core, subject, { ...verdict, denial }, use?.isLast === true));
    return startStream(subject, verdict) ? STREAMING : response;
  } finally {
    if (isCounted && use?.isLast === true) await core.tokens.finishUse(identity.tokenId);
    await core.finished();
  }
}

/** The stages between the two audit entries. */
async function perform(core: UnsealedCore, subject: Subject, verdict: Verdict, isLastUse: boolean): Promise<LogicalResponse | undefined> {
  const entry = entryOf(subject, verdict);
  await core.audit.request(verdict.denial === undefined ? entry : failedEntry(entry, verdict.denial));
  if (verdict.denial !== undefined) throw verdict.denial;
  let made: LogicalResponse | undefined;
  let response: LogicalResponse | undefined;
  let issued: LogicalResponse | undefined;
  try {
    made = await callEngine(subject, verdict);
    if (made?.login !== undefined) made = await core.logins.issue(subject.route!, made, subject.exchange.remoteAddress);
    if (made?.isNewToken === true) issued = made;
    if (made?.lease !== undefined) made = await core.leaseGrants.grant(made, leaseRequest(subject, isLastUse));
    response = made === undefined || subject.wrapTtlSeconds === undefined ? made : await core.wrapping.wrap(made, subject.wrapTtlSeconds, subject.exchange.target.path);
  } catch (error) {
    if (issued !== undefined) await core.logins.withdraw(issued);
    await core.audit.response(failedEntry(entry, error));
    throw error;
  }
  try {
    await core.audit.response(responseEntry(entry, response));
  } catch (error) {
    if (response?.wrapInfo !== undefined) await core.wrapping.withdraw(response);
    if (issued !== undefined) await core.logins.withdraw(issued);
    throw error;
  }
  if (subject.operation === 'read' && isCanary(made)) core.canaryRead(subject.exchange.target.path, subject.identity?.entry.displayName ?? '', subject.exchange.remoteAddress);
  return response;
}

function leaseRequest({ exchange, identity, route }: Subject, isLastUse: boolean): LeaseRequest {
  return { path: exchange.target.path, mount: route!.mount, token: identity && { id: identity.tokenId, entry: identity.entry, isLastUse } };
}

/** True for the answer about a secret whose custom metadata say that nobody should read it. */
function isCanary(response: LogicalResponse | undefined): boolean {
  const metadata = response?.data?.['metadata'] as { readonly custom_metadata?: { readonly canary?: unknown } | null } | null | undefined;
  return metadata?.custom_metadata?.canary === 'true';
}

/** Lets the mount take the response over, on a path where it does. */
function startStream({ exchange, identity, route, operation, data }: Subject, { hasSudo }: Verdict): boolean {
  const stream = operation === 'read' ? route?.mount.streams?.find(({ path }) => path === route.path) : undefined;
  if (stream === undefined) return false;
  stream.start(identity && callerOf(identity, hasSudo), identity?.entry.expiresAt ?? Infinity, data, exchange.response);
  return true;
}

/** What would be silently ignored would mean something else to the client than to the server. */
function refuseUnsupportedHeaders({ headers }: IncomingMessage): void {
  const namespace = headers['x-vault-namespace'];
  if (namespace !== undefined && !['', '/', 'root', 'root/'].includes(String(namespace))) {
    throw new PurserError('ERR_REQUEST_INVALID', 'namespaces are not supported', { hint: 'leave X-Vault-Namespace out' });
  }
}

function readToken({ headers }: IncomingMessage): string | undefined {
  const token = headers['x-vault-token'];
  if (typeof token === 'string' && token !== '') return token;
  const match = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '');
  return match?.[1];
}

function findPrincipal(core: UnsealedCore, tokenId: string | undefined): Promise<Principal | undefined> | undefined {
  return tokenId === undefined ? undefined : core.principals.find(tokenId);
}

/** The same, if the token may be used from where it was. */
function admit({ remoteAddress }: Exchange, shown: Principal | undefined): Principal | undefined {
  return shown !== undefined && isWithin(remoteAddress, shown.entry.boundCidrs) ? shown : undefined;
}

/** Body fields for writes, query parameters for everything else. */
function readInput({ request, target }: Exchange, limits: BodyLimits): Promise<JsonObject> | JsonObject {
  if (target.verb === 'patch' && !/^application\/merge-patch\+json\s*(?:;|$)/.test(request.headers['content-type'] ?? '')) {
    throw new PurserError('ERR_REQUEST_MEDIA_TYPE', 'a patch needs the content type application/merge-patch+json');
  }
  return target.verb === 'write' || target.verb === 'patch' ? readBody(request, limits) : target.query;
}

function accessOf(route: Route | undefined): Access {
  if (route === undefined) return 'policy';
  if (matchesAny(route.mount.engine.unauthenticatedPaths, route.path)) return 'open';
  return matchesAny(route.mount.tokenOnlyPaths, route.path) ? 'token' : 'policy';
}

/** Asks the engine whether the target of a write exists; only for callers with a token, since strangers are refused anyway. */
async function findOperation(exchange: Exchange, route: Route | undefined, identity: Principal | undefined, access: Access, data: JsonObject): Promise<Operation> {
  const { verb } = exchange.target;
  const engine = route?.mount.engine;
  if (verb !== 'write' || engine?.exists === undefined || (identity === undefined && access !== 'open')) return operationOf(verb, true);
  const request: Mutable<LogicalRequest> = baseRequest(exchange, route!, 'update', data);
  if (identity !== undefined) request.caller = callerOf(identity, false);
  return operationOf(verb, await engine.exists(request));
}

/** Policies, and sudo where the engine asks for it. */
function decide({ exchange, tokenId, identity, wrapTtlSeconds, route, access, operation, data }: Subject): Verdict {
  if (access === 'open') return { denial: undefined, grantingPolicies: [], hasSudo: false };
  if (identity === undefined) return { denial: refusalOfToken(exchange.target.path, tokenId !== undefined), grantingPolicies: [], hasSudo: false };
  const isSudoPath = matchesAny(route?.mount.engine.sudoPaths, route?.path ?? '');
  const decision = identity.acl.check({ path: exchange.target.path, operation, data, isSudoPath, ...(wrapTtlSeconds === undefined ? {} : { wrapTtlSeconds }) });
  const isAllowed = access === 'token' || decision.allowed;
  return { denial: isAllowed ? undefined : denied(), grantingPolicies: decision.grantingPolicies, hasSudo: decision.hasSudo };
}

async function callEngine({ exchange, tokenId, identity, wrapTtlSeconds, route, access, operation, data }: Subject, { hasSudo }: Verdict): Promise<LogicalResponse | undefined> {
  if (route === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', `no handler for route ${JSON.stringify(exchange.target.path)}. route entry not found.`);
  const request: Mutable<LogicalRequest> = baseRequest(exchange, route, operation, data);
  if (identity !== undefined && access !== 'open') request.caller = callerOf(identity, hasSudo);
  else if (tokenId !== undefined && route.mount.path === SYS_PREFIX) request.shownToken = tokenId;
  if (wrapTtlSeconds !== undefined) request.wrapTtlSeconds = wrapTtlSeconds;
  return route.mount.engine.handle(request);
}

function baseRequest(exchange: Exchange, route: Route, operation: Operation, data: JsonObject): LogicalRequest {
  return { operation, path: route.path, mountPoint: route.mount.path, data, remoteAddress: exchange.remoteAddress };
}

function callerOf({ tokenId, entry, policies }: Principal, hasSudo: boolean): Caller {
  return {
    tokenId, tokenKey: entry.key, accessor: entry.accessor, policies, entityId: entry.entityId, displayName: entry.displayName, metadata: entry.metadata,
    isRoot: entry.policies.includes(ROOT_POLICY_NAME), path: entry.path, hasSudo,
  };
}

function entryOf({ exchange, tokenId, shown, wrapTtlSeconds, route, operation, data }: Subject, { denial, grantingPolicies }: Verdict): AuditEntry {
  const { id, target, remoteAddress, remotePort } = exchange;
  return requestEntry({
    id, traceId: traceIdOf(exchange.request.headers['traceparent']), path: target.path, remoteAddress, remotePort, operation, data, mount: route?.mount, tokenId, token: shown?.entry, policies: shown?.policies, wrapTtlSeconds,
    isAllowed: denial === undefined, grantingPolicies,
  });
}

/** Vault's notation for special paths: exact, or a prefix with a trailing `*`. */
function matchesAny(patterns: readonly string[] | undefined, path: string): boolean {
  if (patterns === undefined) return false;
  for (const pattern of patterns) if (pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern) return true;
  return false;
}

function denied(): PurserError {
  return new PurserError('ERR_REQUEST_DENIED', 'permission denied');
}

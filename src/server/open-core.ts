// Puts together what lives above the open barrier, and fills a new core. Composition only. Prefixes of the barrier: see
// core/FORMAT.md; below `node/` there are `auth/`, `swarm/` and the record `cluster`.

import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { AuditBroker } from '../audit/broker.ts';
import { EntityStore } from '../auth/identity/entity-store.ts';
import { GroupStore } from '../auth/identity/group-store.ts';
import { IdentityEngine } from '../auth/identity/identity-engine.ts';
import { TokenEngine } from '../auth/token/token-engine.ts';
import { authObject } from '../auth/token/token-json.ts';
import { TokenRoles } from '../auth/token/token-roles.ts';
import { TokenStore } from '../auth/token/token-store.ts';
import type { Barrier } from '../core/barrier.ts';
import type { Engine, JsonObject, LeaseKeeper } from '../core/logical.ts';
import type { View } from '../core/view.ts';
import { CubbyholeEngine } from '../engines/cubbyhole/cubbyhole-engine.ts';
import { Cubbyholes } from '../engines/cubbyhole/cubbyholes.ts';
import { KvEngine } from '../engines/kv/kv-engine.ts';
import { PlainKvEngine } from '../engines/kv/plain-kv-engine.ts';
import { Leases } from '../leases/leases.ts';
import { isPurserError, messageOf, PurserError } from '../lib/errors.ts';
import type { Metrics } from '../lib/metrics.ts';
import { AuditDevices } from './audit-devices.ts';
import { AuditLog } from './audit-log.ts';
import { failureReporter } from './audit-failures.ts';
import type { ServerConfig } from './config.ts';
import type { Lifecycle } from './core-state.ts';
import { createAuthMethod } from './auth-methods.ts';
import { openKeyOperations } from './key-operations.ts';
import { LeaseDirectory } from './lease-directory.ts';
import { LeaseGrants } from './lease-grants.ts';
import { Logins } from './logins.ts';
import { DEFAULT_LOCKOUT, DEFAULT_MOUNT_CONFIG } from './mount-config.ts';
import { isAuthPath, MountTable, type Mount, type MountRecord } from './mount-table.ts';
import { metricsResponse } from './metrics/core-metrics.ts';
import type { NotifyTarget } from './notify/delivery.ts';
import { Notifier } from './notify/notifier.ts';
import { createNodeServices, type NodeServices, type NodeServicesOptions } from './node/node-services.ts';
import { PolicyStore } from './policy-store.ts';
import { Principals } from './principals.ts';
import { apiPathsOf, secretPaths } from './secret-paths.ts';
import { auditRoutes } from './sys/audit.ts';
import { authRoutes } from './sys/auth.ts';
import { capabilityRoutes } from './sys/capabilities.ts';
import { leaseRoutes } from './sys/leases.ts';
import { lockedUserRoutes } from './sys/locked-users.ts';
import { mountRoutes } from './sys/mounts.ts';
import { policyRoutes } from './sys/policies.ts';
import { remountRoutes } from './sys/remount.ts';
import { resultantAclRoutes } from './sys/resultant-acl.ts';
import { SysEngine } from './sys/sys-engine.ts';
import { toolRoutes } from './sys/tools.ts';
import { usageRoutes } from './sys/usage.ts';
import { wrappingRoutes } from './sys/wrapping.ts';
import { UnsealedCore } from './unsealed-core.ts';
import { Wrapping } from './wrapping.ts';

/** Mounted in every new core, so that the references of the documentation work; Vault does so in development mode only. */
const FIRST_MOUNT = { path: 'secret/', type: 'kv', description: 'key/value secrets, with versions', options: { version: '2' } };
const AUDIT_TAIL = 'audit/tail';
const TOKEN_ACCESSOR = 'auth_token_builtin';
const NODE_LOGIN_PATH = 'auth/node/login';

export interface CoreOptions {
  readonly config: ServerConfig;
  readonly log: Logger;
  readonly now: () => number;
  /** Seals the core; resolves when the keys are gone. */
  readonly seal: () => Promise<void>;
  /** How nodes reach this core. */
  readonly address: () => string;
  /** What nodes pin; undefined for plain HTTP. */
  readonly authority: NodeServicesOptions['authority'];
  /** Engine types that no product has, for tests of what engines rely on. */
  readonly testOnlyEngines?: Readonly<Record<string, () => Engine>> | undefined;
  readonly metrics: Metrics;
  readonly notifyTargets: readonly NotifyTarget[];
}

/** How a core is opened and set up, for CoreState. */
export function coreLifecycle(options: CoreOptions): Lifecycle<UnsealedCore> {
  const rootToken = options.config.dev?.rootToken;
  return {
    open: (barrier) => openCore(barrier, options),
    isSetUp: (barrier) => MountTable.exists(barrier.view('mounts/')),
    setUp: async (core, deliver) => {
      const { id } = await core.tokens.createRoot(rootToken === undefined ? {} : { id: rootToken });
      await deliver(id);
      await core.mounts.enable(FIRST_MOUNT); // writes the mount table, which marks the setup as complete
    },
  };
}

async function openCore(barrier: Barrier, options: CoreOptions): Promise<UnsealedCore> {
  const { config, log, now } = options;
  const audit = new AuditBroker(failureReporter(log, now));
  try {
    const devices = await AuditDevices.open({ broker: audit, view: barrier.view('audit/'), config: config.audit, now, log });
    const engines = new Map<string, Engine>(); // by accessor, also those that are on their way out
    const cubbyholes = new Cubbyholes(barrier.view('cubbyhole/'));
    const leases = new Leases({
      view: barrier.view('leases/'), now, keeperOf: (mount) => asKeeper(engines.get(mount)),
      onFailure: ({ id }, error) => { log.warn({ lease: id, reason: reasonOf(error) }, 'a lease could not be revoked; it is tried again'); },
    });
    const tokens = await TokenStore.open(barrier.view('token/'), now, async (key) => {
      await leases.revokeOwned(key);
      await cubbyholes.wipe(key);
    });
    const onGrantsChanged = () => nodes.grantsChanged();
    const policies = await PolicyStore.open(barrier.view('policy/'), onGrantsChanged);
    const onChange: ChangeListener = (path, version) => nodes.changed(path, version);
    const mounts: MountTable = await MountTable.open({
      view: barrier.view('mounts/'), systemTtls: config.ttls, logical: barrier.view('logical/'), auth: barrier.view('auth/'),
      createEngine: (record, view) => {
        const testOnly = options.testOnlyEngines?.[record.type]?.();
        const made = testOnly !== undefined ? { engine: testOnly } : isAuthPath(record.path)
          ? createAuthMethod(record, { view, now, lockoutRule: () => mounts.byAccessor(record.accessor)?.config.lockout ?? DEFAULT_LOCKOUT })
          : createEngine(record, view, { now, onChange, defaultLeaseSeconds: (mountPoint) => mounts.ttlsOf(mounts.find(mountPoint)?.mount ?? { config: DEFAULT_MOUNT_CONFIG }).defaultTtlSeconds });
        engines.set(record.accessor, made.engine);
        return made;
      },
      beforeRemoval: ({ path }) => leases.revokePrefix(path, { sync: true }),
      onRemoved: async ({ accessor, path }) => {
        await leases.revokePrefix(path, { sync: true, force: true });
        engines.delete(accessor);
        await tokens.revokeWhere(({ login }) => login?.mount === accessor);
      },
      onDisabled: onGrantsChanged,
    });
    const wrapping = new Wrapping(tokens, cubbyholes);
    const directory = new LeaseDirectory(leases, tokens, now);
    const logFault = (error: unknown): void => { log.error({ reason: reasonOf(error) }, 'tidying failed'); };
    const entities = await EntityStore.open(barrier.view('identity/'), now);
    const groups = await GroupStore.open(barrier.view('identity/group/'), now);
    const principals = new Principals({ tokens, policies, entities, groups });
    const logins = new Logins({
      tokens, policies, mounts, now, identify: async ({ accessor }, login) => {
        const entity = await entities.logIn(accessor, login.alias);
        await groups.refresh(entity, accessor, login.groups ?? []);
        return { id: entity.id, policies: principals.identityPolicies(entity) };
      },
    });
    const notifier = await Notifier.open({ view: barrier.view('notify/'), targets: options.notifyTargets, now, log });
    const nodeWiring = await nodeOptions(barrier, options, { tokens, policies, mounts });
    const nodes: NodeServices = await createNodeServices({
      ...nodeWiring, notify: notifier.isOn ? (event) => notifier.notify(event) : undefined,
    });
    const keys = await openKeyOperations({
      barrier, config, log, now, createRootToken: async () => (await tokens.createRoot()).id, startSeal: () => core.startSeal(options.seal),
    });
    const auditLog = new AuditLog({ devices, now, apiPaths: (secret) => apiPathsOf(mounts, secret) }, async ({ tokenId }) =>
      (await principals.find(tokenId))?.acl.check({ path: `sys/${AUDIT_TAIL}`, operation: 'read', data: {}, isSudoPath: true }).allowed === true);
    const core: UnsealedCore = new UnsealedCore({
      clusterId: nodeWiring.clusterId, tokens, policies, audit, mounts, logins, principals, closers: keys.closers, leases, leaseGrants: new LeaseGrants({ leases, tokens, mounts, now }), wrapping, log,
      streams: [auditLog, nodes], nodes, notifier, keys,
    });
    const sys = new SysEngine([
      ...mountRoutes(mounts, principals), ...authRoutes(mounts), ...lockedUserRoutes(mounts), ...policyRoutes(policies),
        ...capabilityRoutes(principals), ...auditRoutes(devices, auditLog), ...keys.routes,
      ...usageRoutes(nodes.usage),
      ...leaseRoutes(directory, logFault), ...wrappingRoutes(wrapping),
      ...remountRoutes(mounts), ...toolRoutes(), ...resultantAclRoutes(principals),
      { path: 'metrics', operations: { read: ({ data }) => metricsResponse(options.metrics, data) } },
    ]);
    const tokenEngine = new TokenEngine({
      store: tokens, roles: new TokenRoles(barrier.view('token/role/')), now, policyExists: async (name) => policies.has(name),
      askTerms: (entry) => logins.renewalTerms(entry), onFault: logFault, entityOf: async (name) => (await entities.logIn(TOKEN_ACCESSOR, { name })).id,
      ttls: () => mounts.ttlsOf(mounts.byAccessor(TOKEN_ACCESSOR) ?? { config: DEFAULT_MOUNT_CONFIG }),
      identityPolicies: async (entityId) => {
        const entity = entityId === '' ? undefined : await entities.ofToken(entityId);
        return entity === undefined ? [] : principals.identityPolicies(entity);
      },
    });
    const identity = new IdentityEngine({ store: entities, groups, mountOf: (accessor) => mounts.byAccessor(accessor), oidc: nodes.identity });
    for (const mount of builtInMounts(sys, { tokenEngine, cubbyholes, identity, nodes, auditLog })) mounts.addBuiltIn(mount);
    return core;
  } catch (error) {
    await audit.close().catch(() => undefined);
    throw error;
  }
}

function builtInMounts(
  sys: SysEngine, { tokenEngine, cubbyholes, identity, nodes, auditLog }: { readonly tokenEngine: TokenEngine; readonly cubbyholes: Cubbyholes; readonly identity: IdentityEngine; readonly nodes: NodeServices; readonly auditLog: AuditLog },
): Mount[] {
  return [
    {
      ...builtIn('sys/', 'system', 'system endpoints used for control, policy and debugging', sys), tokenOnlyPaths: sys.tokenOnlyPaths,
      streams: [
        { path: AUDIT_TAIL, start: (caller, tokenExpires, query, response) => auditLog.tail({ tokenId: caller?.tokenId ?? '', tokenExpires }, query, response) },
        { path: 'usage/events', start: (caller, tokenExpires, _query, response) => nodes.usage.streams.attach({ tokenId: caller?.tokenId ?? '', tokenExpires }, response) },
      ],
    },
    builtIn('cubbyhole/', 'cubbyhole', 'per-token private secret storage', new CubbyholeEngine(cubbyholes)),
    builtIn('auth/token/', 'token', 'token based credentials', tokenEngine),
    builtIn('auth/node/', 'node', 'nodes, their join tokens and the workload roles', nodes.auth),
    builtIn('identity/', 'identity', 'entities and their aliases, and the keys to verify the identities of containers', identity),
    {
      ...builtIn('node/', 'node', 'calls of nodes', nodes.calls),
      streams: [{ path: 'watch', start: (caller, tokenExpires, query, response) => nodes.watch(caller, tokenExpires, query, response) }],
    },
  ];
}

function builtIn(path: string, type: string, description: string, engine: Engine): Mount {
  const kind = path.startsWith('auth/') ? `auth_${type}` : type;
  return { path, type, description, engine, options: null, config: DEFAULT_MOUNT_CONFIG, accessor: `${kind}_builtin`, uuid: '' };
}

function asKeeper(engine: Engine | undefined): LeaseKeeper | undefined {
  return engine !== undefined && 'revokeLease' in engine ? engine as Engine & LeaseKeeper : undefined;
}

/** A foreign error's message could quote a value. */
function reasonOf(error: unknown): string {
  return isPurserError(error) ? error.message : 'internal error';
}

/** Told of the full logical path. */
type ChangeListener = (path: string, version: number) => void;

interface EngineWiring { readonly now: () => number; readonly onChange: ChangeListener; readonly defaultLeaseSeconds: (mountPoint: string) => number }

function createEngine({ type, options, path: mountPath }: MountRecord, view: View, { now, onChange, defaultLeaseSeconds }: EngineWiring): Pick<Mount, 'engine' | 'source'> {
  if (type !== 'kv') throw new PurserError('ERR_REQUEST_INVALID', 'unknown engine type', { hint: 'use kv or kv-v2' });
  const changed: ChangeListener = (path, version) => onChange(mountPath + path, version);
  const version = options?.['version'];
  if (version !== '1' && version !== '2') throw new PurserError('ERR_REQUEST_INVALID', 'the version of a kv engine is 1 or 2', { hint: 'set options.version, or use the type kv-v2' });
  const engine = version === '1' ? new PlainKvEngine({ view, defaultLeaseSeconds }, changed) : new KvEngine({ view, now }, changed);
  return { engine, source: engine };
}

async function nodeOptions(
  barrier: Barrier, { config, log, now, address, authority }: CoreOptions, { tokens, policies, mounts }: Pick<UnsealedCore, 'tokens' | 'policies' | 'mounts'>,
): Promise<NodeServicesOptions> {
  return {
    views: { auth: barrier.view('node/auth/'), ledger: barrier.view('ledger/'), swarm: barrier.view('node/swarm/') },
    clusterId: await clusterId(barrier.view('node/')),
    address: address(), authority, now,
    issueToken: async ({ policies: names, ttlSeconds, displayName, metadata }): Promise<JsonObject> => {
      const { id, entry } = await tokens.create({ policies: names, mayBeInternal: true, ttlSeconds, displayName, metadata, path: NODE_LOGIN_PATH, renewable: false });
      return authObject(id, entry, now());
    },
    revokeTokens: async (nodeId) => { await tokens.revokeWhere((entry) => entry.path === NODE_LOGIN_PATH && entry.metadata['node_id'] === nodeId); },
    secretPaths: () => secretPaths(mounts),
    findSource: (path) => {
      const route = mounts.find(path);
      return route?.mount.source && { mountPoint: route.mount.path, source: route.mount.source, relativePath: route.path };
    },
    acl: (names) => policies.acl(names),
    readPolicy: (name) => policies.read(name),
    historyLimits: config.usageHistory,
    isLiveToken: async (id) => (await tokens.lookup(id)) !== undefined,
    onFault: (error) => { log.error({ reason: messageOf(error) }, 'a call of a node failed'); },
    onIndexed: (day, blocks) => { log.info({ day, blocks }, 'the history of usage of a day was indexed'); },
  };
}

/** Names this core in the logins of nodes, for as long as its store lives. */
async function clusterId(view: View): Promise<string> {
  const stored = await view.get('cluster');
  if (stored !== undefined) return Buffer.from(stored).toString('latin1');
  const id = randomUUID();
  await view.put('cluster', Buffer.from(id, 'latin1'));
  return id;
}

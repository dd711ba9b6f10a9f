// Everything that lives above the open barrier, as one thing that comes with unseal and goes with seal. Requests run inside
// perform(), so that closing can wait for them; what each part does is in its own folder, and open-core.ts puts them together.

import type { Logger } from 'pino';
import type { AuditBroker } from '../audit/broker.ts';
import type { TokenStore } from '../auth/token/token-store.ts';
import type { Leases } from '../leases/leases.ts';
import { messageOf, PurserError } from '../lib/errors.ts';
import type { Family } from '../lib/metrics.ts';
import type { Closable } from './core-state.ts';
import type { KeyOperations } from './key-operations.ts';
import type { LeaseGrants } from './lease-grants.ts';
import type { Logins } from './logins.ts';
import type { MountTable } from './mount-table.ts';
import type { NodeServices } from './node/node-services.ts';
import type { Notifier } from './notify/notifier.ts';
import type { PolicyStore } from './policy-store.ts';
import type { Principals } from './principals.ts';
import type { Wrapping } from './wrapping.ts';

/** How long requests under way may hold up a seal, in milliseconds. */
const CLOSE_MILLISECONDS = 2_000;
/** How often what ended is looked for, in milliseconds. When nothing did, it costs two look-ups. */
const SWEEP_MILLISECONDS = 1_000;
const WARNING_MILLISECONDS = 60_000;
/** Every how many sweeps the auth methods look through what they keep. */
const TIDY_SWEEPS = 300;

interface Parts {
  /** Names this core for as long as its store lives. */
  readonly clusterId: string;
  readonly tokens: TokenStore;
  readonly policies: PolicyStore;
  readonly audit: AuditBroker;
  readonly mounts: MountTable;
  readonly logins: Logins;
  readonly principals: Principals;
  readonly leases: Leases;
  readonly leaseGrants: LeaseGrants;
  readonly wrapping: Wrapping;
  /** Parts whose responses have no end of their own. */
  readonly streams: readonly { close(): void | Promise<void> }[];
  readonly nodes: Pick<NodeServices, 'families'>;
  readonly notifier: Notifier;
  readonly keys: Pick<KeyOperations, 'families'>;
  readonly log: Logger;
  /** Run once at close, while the barrier is still open. */
  readonly closers: readonly (() => Promise<void>)[];
}

export class UnsealedCore implements Closable {
  readonly clusterId: string;
  readonly tokens: TokenStore;
  readonly policies: PolicyStore;
  readonly audit: AuditBroker;
  readonly mounts: MountTable;
  readonly logins: Logins;
  readonly principals: Principals;
  readonly leaseGrants: LeaseGrants;
  readonly wrapping: Wrapping;
  readonly #leases: Leases;
  readonly #streams: Parts['streams'];
  readonly #nodes: Parts['nodes'];
  readonly #notifier: Notifier;
  readonly #keys: Parts['keys'];
  readonly #log: Logger;
  readonly #closers: Parts['closers'];
  readonly #sweepTimer: NodeJS.Timeout;
  #isSweeping = false;
  #warnedAt = -Infinity;
  #sweeps = 0;
  #active = 0;
  #onIdle: (() => void) | undefined;
  #isClosed = false;
  #sealing: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.clusterId = parts.clusterId;
    this.tokens = parts.tokens;
    this.policies = parts.policies;
    this.audit = parts.audit;
    this.mounts = parts.mounts;
    this.logins = parts.logins;
    this.principals = parts.principals;
    this.#closers = parts.closers;
    this.leaseGrants = parts.leaseGrants;
    this.wrapping = parts.wrapping;
    this.#leases = parts.leases;
    this.#streams = parts.streams;
    this.#nodes = parts.nodes;
    this.#notifier = parts.notifier;
    this.#keys = parts.keys;
    this.#log = parts.log;
    this.#sweepTimer = setInterval(() => void this.#sweep(), SWEEP_MILLISECONDS).unref();
  }

  /** Runs one audited request; close() waits for it. @throws ERR_BARRIER_SEALED once the core is closing */
  async perform<R>(action: () => Promise<R>): Promise<R> {
    if (this.#isClosed) throw new PurserError('ERR_BARRIER_SEALED', 'the core is sealed');
    this.#active++;
    try {
      return await action();
    } finally {
      if (--this.#active === 0) this.#onIdle?.();
    }
  }

  /** Starts sealing on behalf of a request, which is then still audited and answered by finished(). */
  startSeal(seal: () => Promise<void>): void {
    this.#sealing ??= seal();
  }

  /** After the audit entry of a response: waits for the seal that the request may have asked for. */
  async finished(): Promise<void> {
    await this.#sealing;
  }

  /** A secret that is a trap was read through the API. */
  canaryRead(path: string, displayName: string, remoteAddress: string): void {
    this.#notifier.notify({ type: 'canary-read', subject: JSON.stringify([path, displayName, remoteAddress]), details: { path, display_name: displayName, remote_address: remoteAddress } });
  }

  /** Metrics of all that lives above the barrier. */
  async families(): Promise<Family[]> {
    const devices = [...this.audit.counts()];
    const leases = await this.#leases.counts();
    return [
      { name: 'purser_audit_entries_total', help: 'Entries that an audit device took', type: 'counter', values: devices.map(([device, { taken }]) => ({ labels: { device }, value: taken })) },
      { name: 'purser_audit_failures_total', help: 'Entries that an audit device refused', type: 'counter', values: devices.map(([device, { refused }]) => ({ labels: { device }, value: refused })) },
      { name: 'purser_leases', help: 'Leases of secrets that the core will take back, or cannot; counted every five minutes', type: 'gauge', values: Object.entries<number>({ ...leases }).map(([state, value]) => ({ labels: { state }, value })) },
      ...await this.#nodes.families(), ...this.#notifier.families(), ...this.#keys.families(),
    ];
  }

  /** Ends the responses that have no end of their own. */
  async endStreams(): Promise<void> {
    for (const streams of this.#streams) await streams.close();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#sweepTimer);
    await this.endStreams();
    await this.#notifier.close();
    if (this.#active > 0) {
      let deadline: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => { this.#onIdle = resolve; deadline = setTimeout(resolve, CLOSE_MILLISECONDS); });
      clearTimeout(deadline);
    }
    for (const close of this.#closers) await close().catch((error: unknown) => { this.#log.warn({ reason: messageOf(error) }, 'a part of the core did not close cleanly'); });
    await this.audit.close().catch((error: unknown) => { this.#log.error({ reason: messageOf(error) }, 'an audit device did not close cleanly'); });
  }

  async #sweep(): Promise<void> {
    if (this.#isSweeping) return;
    this.#isSweeping = true;
    try {
      await this.tokens.sweep(); // first: it orders the end of the leases of tokens
      await this.#leases.sweep();
      if (this.#sweeps++ % TIDY_SWEEPS === 0) await this.#tidyMethods();
    } catch (error) {
      this.#warnOfSweep(messageOf(error));
    } finally {
      this.#isSweeping = false;
    }
  }

  /** One by one, so that a damaged record in one mount keeps no other from its work. */
  async #tidyMethods(): Promise<void> {
    for (const { path, method } of this.mounts.all()) {
      await method?.tidy?.().catch((error: unknown) => { this.#log.warn({ path, reason: messageOf(error) }, 'what has expired in an auth method could not be removed'); });
    }
  }

  /** A sweep that fails does so again every second; the log need not. */
  #warnOfSweep(reason: string): void {
    const now = performance.now();
    if (this.#isClosed || now - this.#warnedAt < WARNING_MILLISECONDS) return;
    this.#warnedAt = now;
    this.#log.warn({ reason }, 'what has expired could not be removed');
  }
}

// Rolling updates for services that cannot take a new value in place: with the label `purser.on-rotate=update` on the service, a change of one of its
// secrets makes new tasks, as the service's own update configuration says. One driver does it: that of the manager that leads the Swarm. What a
// service was last updated for stands in its label `purser.versions`, in Swarm's own Raft store: so nothing is lost with this process, with the leader
// or with its machine, and two who both think that they lead cannot both succeed, because an update names the version of the service it was made from.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isPurserError, messageOf } from '../lib/errors.ts';
import type { SwarmSecretRequest } from '../wire/node-protocol.ts';
import type { SwarmEngine, SwarmSecretObject, SwarmService, SwarmServiceTask } from './swarm-engine.ts';

export const UPDATE_LABEL = 'purser.on-rotate=update';
export const VERSIONS_LABEL = 'purser.versions';
const REFERENCE_LABEL = 'purser.ref';

export interface RollingUpdatesOptions {
  readonly engine: SwarmEngine;
  readonly log: Logger;
  /** The name of the driver in Docker. */
  readonly driverName: string;
  /** Which version the core would give to a task now. */
  readonly versionFor: (request: SwarmSecretRequest) => Promise<number>;
  /** Which version this driver gave to a task; undefined when it does not know. */
  readonly givenTo: (taskId: string, secretName: string) => number | undefined;
  /** Milliseconds between two looks; changes that the core tells of are looked at as soon as they are heard. */
  readonly intervalMs?: number;
}

export class RollingUpdates {
  readonly #options: RollingUpdatesOptions;
  readonly #stop = new AbortController();
  #wake = new AbortController();
  /** Service → what it was last updated for from here: an update that Swarm rolled back is not tried again until a secret changes. */
  readonly #tried = new Map<string, string>();
  #loop: Promise<void> | undefined;

  constructor(options: RollingUpdatesOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** A secret changed: look now. */
  wake(): void {
    this.#wake.abort();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#wake.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    let isFailing = false;
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController();
      if (this.#stop.signal.aborted) return;
      try {
        await this.look();
        isFailing = false;
      } catch (error) {
        if (!isFailing) this.#options.log.warn({ err: messageOf(error) }, 'services cannot be looked at for rolling updates now');
        isFailing = true;
      }
      await sleep(this.#options.intervalMs ?? 5000, undefined, { signal: this.#wake.signal }).catch(() => undefined);
    }
  }

  /** Updates every service that has fallen behind; does nothing on a manager that does not lead. */
  async look(): Promise<void> {
    const { engine } = this.#options;
    if (!await engine.isLeader()) return;
    const services = await engine.services(UPDATE_LABEL);
    if (services.length === 0) return;
    const secrets = new Map((await engine.secrets()).filter(({ Spec }) => Spec.Driver?.Name.replace(/:latest$/, '') === this.#options.driverName).map((secret) => [secret.ID, secret]));
    for (const service of services) await this.#tend(service, secrets);
  }

  async #tend(service: SwarmService, secrets: ReadonlyMap<string, SwarmSecretObject>): Promise<void> {
    const { engine, log } = this.#options;
    const { Name: name, Labels: labels, TaskTemplate: template } = service.Spec;
    const used = (template.ContainerSpec?.Secrets ?? []).flatMap(({ SecretID }) => secrets.get(SecretID) ?? []);
    const tasks = used.length === 0 ? [] : await engine.tasks(service.ID);
    if (tasks.length === 0) return;
    let versions: string;
    let isBehind = false;
    try {
      const current = await Promise.all(used.map(async (secret) => ({ secret, version: await this.#version(service, tasks[0] as SwarmServiceTask, secret) })));
      versions = current.map(({ secret, version }) => `${secret.Spec.Name}=${String(version)}`).sort().join(' ');
      isBehind = current.some(({ secret, version }) => tasks.some((task) => (this.#options.givenTo(task.ID, secret.Spec.Name) ?? version) !== version));
    } catch (error) {
      // Denied or away: no task would start, so those that run are left alone.
      log.warn({ service: name, err: messageOf(error), hint: isPurserError(error) ? error.hint : undefined }, 'a service is not updated');
      return;
    }
    const recorded = labels[VERSIONS_LABEL];
    if (this.#tried.get(service.ID) === versions) return;
    const isKnown = tasks.every((task) => used.every((secret) => this.#options.givenTo(task.ID, secret.Spec.Name) !== undefined));
    if (recorded === versions && !isBehind) return;
    // A service that was never updated, and whose tasks are known to have the current values, is only written down; that makes no new tasks.
    const isNew = recorded === undefined && isKnown && !isBehind;
    if (!await engine.update(service, { ...labels, [VERSIONS_LABEL]: versions }, !isNew)) return;
    this.#tried.set(service.ID, versions);
    if (!isNew) log.info({ service: name, from: recorded, to: versions }, 'rolling update for a rotated secret');
  }

  #version(service: SwarmService, task: SwarmServiceTask, { Spec: { Name: secretName, Labels: secretLabels } }: SwarmSecretObject): Promise<number> {
    const { Name: serviceName, Labels: serviceLabels } = service.Spec;
    if (secretLabels[REFERENCE_LABEL] === undefined) return Promise.resolve(0);
    // As Swarm would ask for this task again.
    return this.#options.versionFor({
      secret_name: secretName, secret_labels: secretLabels, service_id: service.ID, service_name: serviceName, service_labels: serviceLabels,
      task_id: task.ID, task_name: `${serviceName}.${String(task.Slot ?? task.NodeID)}.${task.ID}`, task_image: task.Spec.ContainerSpec?.Image ?? '', node_id: task.NodeID ?? '',
    });
  }
}

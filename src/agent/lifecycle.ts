// The life of every container this agent serves: what the runtime says (create, exec, deleted), what Docker says (start,
// die, destroy), and what is found when the agent or Docker comes back. One thing at a time per container; the end of a
// container may be told twice, early or not at all, and always comes to the same.

import type { Logger } from 'pino';
import { KeyedLock } from '../lib/keyed-lock.ts';
import { PurserError, messageOf } from '../lib/errors.ts';
import type { ProcessEnvironment, ShimRequest } from '../wire/shim-protocol.ts';
import { ProcessFile } from './bundle.ts';
import { readContainerFacts } from './container-facts.ts';
import { hasStarted } from './container-start.ts';
import type { Containers } from './containers.ts';
import type { ContainerEvent, DockerEngine } from './docker.ts';
import type { Environment } from './environment.ts';
import type { EnvironmentMarkers } from './environment-markers.ts';
import type { Ledger, ReleaseReason } from './ledger.ts';
import { refusal } from './prepare.ts';
import type { Preparer, SecretTrees } from './prepare.ts';
import type { Rotation } from './rotation.ts';
import type { SwarmLive } from './swarm-live.ts';
import type { Volumes } from './volume/volumes.ts';

export interface LifecycleOptions {
  readonly trees: SecretTrees & { containers(): readonly { readonly id: string }[] };
  readonly containers: Containers;
  readonly preparer: Pick<Preparer, 'prepare'>;
  readonly environment: Pick<Environment, 'ofStart' | 'ofExec'>;
  readonly markers: Pick<EnvironmentMarkers, 'bundleOf' | 'remove' | 'sweep'>;
  readonly swarmLive: Pick<SwarmLive, 'attach' | 'mount' | 'detach'>;
  readonly volumes: Pick<Volumes, 'isMount' | 'recover' | 'started' | 'ended' | 'tidy'>;
  readonly rotation: Pick<Rotation, 'epoch' | 'admitted'>;
  readonly ledger: Pick<Ledger, 'granted' | 'rotated' | 'released' | 'know'>;
  readonly docker: Pick<DockerEngine, 'runningIds' | 'info'>;
  readonly log: Logger;
  /** Milliseconds after its grant in which a container may not be running yet. */
  readonly startGraceMs?: number;
}

const START_GRACE_MS = 60_000;

export class Lifecycle {
  readonly #options: LifecycleOptions;
  readonly #lock = new KeyedLock();
  readonly #startGraceMs: number;
  #dockerRoot: string | undefined;

  constructor(options: LifecycleOptions) {
    this.#options = options;
    this.#startGraceMs = options.startGraceMs ?? START_GRACE_MS;
  }

  /**
   * Answers the runtime.
   * @returns the variables for the new process (shim-protocol.ts), which the caller erases; undefined when it gets none
   * @throws the reason of a refusal
   */
  async request(request: ShimRequest): Promise<ProcessEnvironment | undefined> {
    return this.#lock.run(request.id, async () => {
      switch (request.verb) {
        case 'create':
          // A run whose end nobody told.
          await this.#release(request.id, 'exited');
          await this.#options.preparer.prepare(request.id, request.bundle);
          return undefined;
        case 'start':
          return this.#start(request.id);
        case 'exec':
          return this.#exec(request.id, request.process);
        case 'deleted': {
          const record = this.#options.containers.get(request.id);
          await this.#release(request.id, record !== undefined && await hasStarted(record) ? 'exited' : 'start-failed');
          return undefined;
        }
      }
    });
  }

  /** Takes an event of Docker. Never throws. */
  async event({ action, id, time }: ContainerEvent): Promise<void> {
    await this.#lock.run(id, async () => {
      if (action === 'start') {
        await this.#options.volumes.started(id);
        return this.#started(id);
      }
      await this.#ended(id, action === 'die' ? 'exited' : 'removed', time);
    }).catch((error: unknown) => {
      this.#options.log.error({ container: id.slice(0, 12), action, err: messageOf(error) }, 'an event of Docker could not be followed');
    });
  }

  /** Compares what is served with what runs: releases what ended unseen, takes up Swarm tasks that started unseen. */
  async reconcile(): Promise<void> {
    const running = new Set(await this.#options.docker.runningIds());
    // What was granted a moment ago may not be running yet.
    const before = Date.now() - this.#startGraceMs;
    for (const id of this.#servedIds()) if (!running.has(id)) await this.#lock.run(id, () => this.#ended(id, 'lost', before));
    await this.#options.volumes.tidy();
    for (const id of running) await this.event({ action: 'start', id, time: Date.now() });
    const known = this.#servedIds();
    await this.#options.markers.sweep((id) => running.has(id) || known.has(id), this.#startGraceMs);
  }

  /** Takes over what a predecessor served, and reports what cannot be followed any more. */
  recover(): void {
    this.#options.volumes.recover();
    for (const { id } of this.#options.trees.containers()) {
      if (this.#options.containers.get(id) === undefined && !this.#options.volumes.isMount(id)) this.#options.log.error({ container: id.slice(0, 12) }, 'a container is served without a record; it keeps its values but follows no rotation until it is restarted');
    }
  }

  #servedIds(): Set<string> {
    const { trees, volumes } = this.#options;
    return new Set([...trees.containers().map(({ id }) => id).filter((id) => !volumes.isMount(id)), ...this.#options.containers.all().map(({ workload }) => workload.id)]);
  }

  /** A run that was granted something until `time` is over; what was granted later is the next run's. */
  async #ended(id: string, reason: ReleaseReason, time: number): Promise<void> {
    const { containers, ledger, volumes } = this.#options;
    const hadVolume = await volumes.ended(id, time);
    const record = containers.get(id);
    const isNext = record !== undefined && time < record.grantedAt;
    if (!isNext && await this.#release(id, reason)) return;
    if (hadVolume && !isNext) ledger.released(id, reason);
  }

  /** @returns true when there was something to release */
  async #release(id: string, reason: ReleaseReason): Promise<boolean> {
    const { containers, trees, swarmLive, ledger, log, markers } = this.#options;
    await markers.remove(id);
    const record = containers.get(id);
    const isServed = record !== undefined || trees.containers().some((tree) => tree.id === id);
    if (!isServed) return false;
    if (record !== undefined) await swarmLive.detach(record);
    await trees.remove(id);
    containers.delete(id);
    ledger.released(id, reason);
    log.info({ container: record?.workload.name, id: id.slice(0, 12), reason }, 'container released');
    return true;
  }

  /** The runtime asks this only for a container that has variables with references. */
  async #start(id: string): Promise<ProcessEnvironment> {
    const { containers, environment, markers, ledger } = this.#options;
    const record = containers.get(id);
    try {
      if (record === undefined) throw new PurserError('ERR_STATE_CORRUPT', 'the grant of this container is lost', { hint: 'start it again' });
      const { body, versions } = await environment.ofStart(record, await markers.bundleOf(id));
      // Rotated since create: the process starts with the newer version.
      const moved = record.files.flatMap((file) => {
        const version = file.kind === 'hidden' ? versions.get(file.name) : undefined;
        return version === undefined || version === file.version ? [] : [{ ...file, version }];
      });
      if (moved.length > 0) {
        const next = { ...record, files: record.files.map((file) => moved.find(({ name }) => name === file.name) ?? file) };
        containers.put(next);
        ledger.rotated(next, moved);
      }
      return body;
    } catch (error) {
      throw refusal(id, record?.workload.name, error);
    }
  }

  async #exec(id: string, path: string): Promise<ProcessEnvironment | undefined> {
    const record = this.#options.containers.get(id);
    try {
      return await this.#options.environment.ofExec(record, await ProcessFile.load(path));
    } catch (error) {
      throw refusal(id, record?.workload.name, error);
    }
  }

  /** A container runs. If it has Swarm secrets that are not followed yet, they are made live now. */
  async #started(id: string): Promise<void> {
    const { containers, swarmLive, rotation, ledger, log } = this.#options;
    const known = containers.get(id);
    const isMounted = known !== undefined && known.overMounts.length > 0;
    if (known !== undefined && !isMounted && (known.workload.task_id === undefined || known.files.some(({ source }) => source.type === 'swarm'))) return;
    const dockerRoot = known?.dockerRoot ?? await this.#root();
    if (dockerRoot === undefined) return;
    const facts = await readContainerFacts(dockerRoot, id);
    if (!facts.isRunning || facts.pid === 0) return;
    if (isMounted) return swarmLive.mount(known, facts.pid);
    if (facts.swarmSecrets.length === 0) return;
    const { epoch } = rotation;
    const attached = await swarmLive.attach(facts, dockerRoot, known !== undefined);
    if (attached === undefined) return;
    // As it is now: a rotation may have come meanwhile.
    const others = containers.get(id);
    const record = others === undefined ? attached : { ...others, files: [...others.files, ...attached.files], overMounts: attached.overMounts };
    containers.put(record);
    ledger.granted(record, attached.files);
    rotation.admitted(record, epoch);
    log.info({ container: record.workload.name, id: id.slice(0, 12), secrets: attached.files.length }, 'Swarm secrets of a running task are live');
  }

  async #root(): Promise<string | undefined> {
    this.#dockerRoot ??= (await this.#options.docker.info().catch(() => undefined))?.dockerRoot;
    return this.#dockerRoot;
  }
}

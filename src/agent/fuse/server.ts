// The serving side's state: tree, log and pins together, and the commands that change them. Order of every change: log first, then the tree, then
// what the kernel and the main thread are told. Superseded versions end here: erased when no descriptor needs them and the grace is over, or when
// they are too many.

import { ProcCallers, type Callers } from './caller.ts';
import { Dispatcher } from './dispatch.ts';
import { EventFold } from './events.ts';
import type { Command, ContainerSummary, HiddenValue, Outcome, Raise } from './messages.ts';
import { Pins, PIN_IDLE_MS } from './pins.ts';
import { planAdd, planRemove, planReplace, type Plan } from './plan.ts';
import { INIT_FLAGS2, notifyDelete, notifyInvalidateEntry, notifyInvalidateInode, ROOT_NODE, type Negotiated } from './protocol.ts';
import type { StateFile } from './state-file.ts';
import { StateLog, type Slot } from './state-log.ts';
import type { StateRecord } from './state-record.ts';
import { stagedName } from './staging.ts';
import { FIRST_ID, Tree, currentOf, filesOf, type Container, type File } from './tree.ts';

/** A superseded version lives at least this long: lookups, pins and event steps may still name it. */
export const GRACE_MS = 60_000;
/** After a takeover nobody knows which descriptors are open; older versions are kept this long. */
const UNKNOWN_OPENS_MS = 900_000;
/** Superseded values beyond this are erased oldest first, open or not. */
const MAX_SUPERSEDED_BYTES = 67_108_864;
const MAX_SUPERSEDED_VERSIONS = 16_384;
const TICK_MS = 5000;

export class FuseServer {
  readonly tree = new Tree();
  readonly pins = new Pins();
  readonly events: EventFold;
  readonly log: StateLog;
  readonly dispatcher: Dispatcher;
  /** The request a predecessor may have left unanswered. */
  readonly inFlight: Buffer | undefined;
  /** Generation of each container whose events the main thread already has. */
  readonly #announced = new Map<string, number>();
  #isRefused = false;

  /** @throws ERR_STATE_CORRUPT when the predecessor's state is damaged */
  constructor(stateFiles: readonly [StateFile, StateFile], callers: Callers = new ProcCallers()) {
    const { log, records, inFlight } = StateLog.open(stateFiles, FIRST_ID);
    this.log = log;
    this.inFlight = inFlight;
    this.events = new EventFold(callers);
    for (const { record, slot } of records) this.#apply(record, slot, true);
    for (const container of this.tree.containers.values()) for (const file of filesOf(container)) currentOf(file);
    this.dispatcher = new Dispatcher({ tree: this.tree, log, callers, events: this.events, pins: this.pins, canWait: () => ((this.agreed?.flags2 ?? 0) & INIT_FLAGS2.HAS_RESEND) !== 0, onInit: (agreed) => this.#onInit(agreed) });
  }

  /** What kernel and server agreed on; undefined before INIT. */
  get agreed(): Negotiated | undefined {
    return this.tree.init;
  }

  /** True when the kernel's INIT was refused: another major version, or too old. */
  get isRefused(): boolean {
    return this.#isRefused;
  }

  /** Everything a successor has to know at its start, and the steps whose events its predecessor did not raise. */
  recovered(): Outcome {
    for (const container of this.tree.containers.values()) this.#announced.set(container.id, container.raised);
    return this.#outcome([...this.tree.containers.values()], []);
  }

  /** @throws ERR_WORKLOAD_INVALID, ERR_STORAGE_FULL; nothing has changed then */
  execute(command: Command, now: number): Outcome {
    switch (command.op) {
      case 'add': return this.#add(command, now);
      case 'replace': {
        const { updates } = command;
        const plan = planReplace(this.tree, this.log.nextId, updates, now, (slot, content) => this.log.holds(slot, content));
        this.#commit(plan);
        return this.#outcome(this.#rotated(updates.map(({ containerId }) => containerId), now), []);
      }
      case 'remove': return this.#remove(command.id);
      case 'raised': return this.#raised(command.steps);
      case 'values': return { ...this.#outcome([], []), values: this.#values(command.id) };
      case 'tick': return this.#tick(now);
      case 'stop': return this.#outcome([], []);
    }
  }

  #add({ tree: wish }: Extract<Command, { op: 'add' }>, now: number): Outcome {
    const before = this.tree.containers.get(wish.id);
    const plan = planAdd(this.tree, this.log.nextId, wish, now, (slot, content) => this.log.holds(slot, content));
    const gone = plan.records.flatMap((record) => (record.type === 'drop-file' ? [this.tree.nodes.get(record.file) as File] : []));
    const notifications = gone.filter((file) => file.type !== 'hidden').map((file) => (file.type === 'placeholder' || file.type === 'bound'
      ? notifyInvalidateEntry((file.type === 'bound' ? file.container.boundDirectory : file.container.filesDirectory).node, file.name)
      : notifyDelete(file.container.filesDirectory.node, currentOf(file).id, file.name)));
    for (const file of gone) this.dispatcher.holders.forget(file);
    this.#commit(plan);
    if (before === undefined) this.#announced.set(wish.id, 1);
    return this.#outcome(this.#rotated([wish.id], now), notifications);
  }

  #remove(id: string): Outcome {
    const container = this.tree.containers.get(id);
    if (container === undefined) return this.#outcome([], []);
    for (const file of filesOf(container)) this.dispatcher.holders.forget(file);
    this.#commit(planRemove(this.tree, this.log.nextId, id));
    this.pins.forget(container);
    this.#announced.delete(id);
    return this.#outcome([], [notifyInvalidateEntry(ROOT_NODE, id)]);
  }

  #raised(steps: Extract<Command, { op: 'raised' }>['steps']): Outcome {
    const news = steps.filter(({ containerId, generation }) => generation > (this.tree.containers.get(containerId)?.raised ?? Infinity));
    const records = news.map(({ containerId, generation }): StateRecord => ({ type: 'raised', container: containerId, generation }));
    this.#commit({ records, nextId: this.log.nextId });
    return this.#outcome([], []);
  }

  #values(id: string): HiddenValue[] {
    return [...this.tree.containers.get(id)?.hidden.values() ?? []].map((file) => {
      const { slot, version } = currentOf(file);
      const content = Buffer.allocUnsafeSlow(slot.valueLength);
      this.log.read(slot, 0, content, 0, slot.valueLength);
      return { name: file.name, version, content };
    });
  }

  #tick(now: number): Outcome {
    this.#eraseSuperseded(now);
    const again = this.pins.sweep(now).flatMap((file) => this.#lastStep(file));
    return { ...this.#outcome([], []), raises: again };
  }

  #rotated(ids: readonly string[], now: number): Container[] {
    const containers = [...new Set(ids)].map((id) => this.tree.containers.get(id)).filter((container) => container !== undefined);
    for (const container of containers) if (container.generation > (this.#announced.get(container.id) ?? 0)) this.pins.rotated(container, now);
    return containers;
  }

  #commit(plan: Plan): void {
    if (plan.records.length === 0) return;
    const slots = this.log.append(plan.records, plan.nextId);
    plan.records.forEach((record, i) => { this.#apply(record, slots[i]!, false); });
    if (this.log.wantsCompaction) this.log.compact(this.tree.liveSlots());
  }

  #apply(record: StateRecord, slot: Slot, isRecovery: boolean): void {
    const { meta, values } = this.tree.apply(record, slot, isRecovery);
    this.log.release(meta);
    this.log.wipe(values);
  }

  #onInit(agreed: Negotiated | undefined): void {
    this.#isRefused = agreed === undefined;
    if (agreed !== undefined) this.#commit({ records: [{ type: 'init', ...agreed }], nextId: this.log.nextId });
  }

  #eraseSuperseded(now: number): void {
    let bytes = 0;
    for (const { slot } of this.tree.superseded) bytes += slot.valueLength;
    for (const version of this.tree.superseded) {
      const age = now - (version.supersededAt ?? now);
      const isTooMuch = bytes > MAX_SUPERSEDED_BYTES || this.tree.superseded.size > MAX_SUPERSEDED_VERSIONS;
      const isUnused = version.opens === 0 && age > (version.opensUnknown ? UNKNOWN_OPENS_MS : GRACE_MS);
      if (!isTooMuch && !isUnused) continue;
      bytes -= version.slot.valueLength;
      this.tree.forget(version);
      this.log.wipe([version.slot]);
    }
    if (this.log.wantsCompaction) this.log.compact(this.tree.liveSlots());
  }

  #outcome(containers: readonly Container[], notifications: readonly Uint8Array[]): Outcome {
    const raises = containers.flatMap((container) => this.#announce(container));
    const stale = raises.filter(({ from, isHidden }) => from === undefined && !isHidden).map(({ containerId, name }) => this.tree.containers.get(containerId)!.bound.get(name)!);
    return {
      changed: containers.map(summaryOf), raises,
      // Pages that a process mapped of a bound file show the old version until the kernel drops them.
      notifications: [...notifications, ...stale.map((file) => notifyInvalidateInode(file.id))],
      wakeInMs: this.pins.hasStale ? PIN_IDLE_MS + 100 : this.tree.superseded.size > 0 ? TICK_MS : undefined,
    };
  }

  /** The steps since the last announcement, each version after the one it replaced. */
  #announce(container: Container): Raise[] {
    const since = this.#announced.get(container.id) ?? container.generation;
    this.#announced.set(container.id, container.generation);
    return filesOf(container).flatMap((file) => file.versions.flatMap((version, i): Raise[] => {
      if (i === 0 || version.generation <= since || file.type === 'placeholder') return [];
      return [raiseOf(file, file.versions[i - 1]!.id, version.id, version.generation)];
    }));
  }

  /** The last step of a file once more, for watchers that were inside a pinned round when they heard of it. */
  #lastStep(file: File): Raise[] {
    const current = currentOf(file);
    const previous = file.versions.at(-2);
    if (previous === undefined || this.tree.containers.get(file.container.id) !== file.container) return [];
    return [raiseOf(file, previous.id, current.id, current.generation)];
  }
}

function raiseOf(file: File, oldId: number, newId: number, generation: number): Raise {
  return { containerId: file.container.id, generation, name: file.name, from: file.type === 'versioned' ? stagedName(oldId, newId) : undefined, isHidden: file.type === 'hidden' };
}

/** A container as the main thread sees it: no value, no node. */
export function summaryOf(container: Container): ContainerSummary {
  const files = filesOf(container).map((file) => {
    const { version, uid, gid, mode } = currentOf(file);
    return { name: file.name, kind: file.type, version, uid, gid, mode };
  });
  return { id: container.id, cgroupPath: container.cgroupPath, files };
}

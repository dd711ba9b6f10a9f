// Per-process pins: a process that opens `user` and then `password` gets both from one generation of its container, even when a rotation falls
// between the two. A round begins with an OPEN, keeps its generation for every name not yet opened in it, and ends when a name is opened
// again or the process has opened nothing for `idleMs`. Without a rotation in the last moments nothing here costs a look at the caller.
// A watcher might be told of a change and still be inside a round: `staleServed` names the files whose events must be raised once more.

import { currentOf, type Container, type File, type Version } from './tree.ts';

/** How long a round outlives its last OPEN, in milliseconds. */
export const PIN_IDLE_MS = 1000;
/** Rounds remembered per container; the oldest goes first. */
const MAX_ROUNDS = 1024;

interface Round {
  readonly generation: number;
  readonly opened: Set<File>;
  lastOpen: number;
}

interface ContainerPins {
  readonly rounds: Map<number, Round>;
  /** No round begun before this moment can differ from the current generation once `idleMs` has passed. */
  unsettledAt: number;
  readonly staleServed: Set<File>;
}

function isValidIn(version: Version, generation: number): boolean {
  return version.generation <= generation && (version.supersededBy === undefined || generation < version.supersededBy);
}

export class Pins {
  readonly #containers = new Map<Container, ContainerPins>();

  /** The version of `file` for a process; `tgidOf` is asked only shortly after a rotation. */
  resolve(file: File, now: number, tgidOf: () => number): Version {
    const current = currentOf(file);
    const pins = this.#containers.get(file.container);
    if (pins === undefined || now - pins.unsettledAt > PIN_IDLE_MS) return current;
    const round = pins.rounds.get(tgidOf());
    if (round === undefined || now - round.lastOpen > PIN_IDLE_MS || round.opened.has(file)) return current;
    const pinned = file.versions.find((version) => isValidIn(version, round.generation)) ?? current;
    if (pinned !== current) this.#serveStale(pins, file, now);
    return pinned;
  }

  /** Notes that a process opened a version. */
  opened(version: Version, tgid: number, now: number): void {
    const { file } = version;
    const pins = this.#pinsOf(file.container);
    let round = pins.rounds.get(tgid);
    if (round === undefined || now - round.lastOpen > PIN_IDLE_MS || round.opened.has(file) || !isValidIn(version, round.generation)) {
      const generation = version.supersededBy === undefined ? file.container.generation : version.supersededBy - 1;
      round = { generation, opened: new Set(), lastOpen: now };
    }
    round.opened.add(file);
    round.lastOpen = now;
    pins.rounds.delete(tgid); // re-inserted as the youngest
    pins.rounds.set(tgid, round);
    if (pins.rounds.size > MAX_ROUNDS) pins.rounds.delete(pins.rounds.keys().next().value!);
    if (version.supersededBy !== undefined) this.#serveStale(pins, file, now);
  }

  /** Notes that a container has a new generation. */
  rotated(container: Container, now: number): void {
    this.#pinsOf(container).unsettledAt = now;
  }

  forget(container: Container): void {
    this.#containers.delete(container);
  }

  /** Drops ended rounds; returns the files that were served from an older generation since the last call and are settled now. */
  sweep(now: number): File[] {
    const stale: File[] = [];
    for (const [container, pins] of this.#containers) {
      for (const [tgid, round] of pins.rounds) if (now - round.lastOpen > PIN_IDLE_MS) pins.rounds.delete(tgid);
      if (now - pins.unsettledAt <= PIN_IDLE_MS) continue;
      stale.push(...pins.staleServed);
      pins.staleServed.clear();
      if (pins.rounds.size === 0) this.#containers.delete(container);
    }
    return stale;
  }

  /** True while some process may have been served from an older generation. */
  get hasStale(): boolean {
    for (const pins of this.#containers.values()) if (pins.staleServed.size > 0) return true;
    return false;
  }

  #serveStale(pins: ContainerPins, file: File, now: number): void {
    pins.staleServed.add(file);
    pins.unsettledAt = now;
  }

  #pinsOf(container: Container): ContainerPins {
    let pins = this.#containers.get(container);
    if (pins === undefined) {
      pins = { rounds: new Map(), unsettledAt: -Infinity, staleServed: new Set() };
      this.#containers.set(container, pins);
    }
    return pins;
  }
}

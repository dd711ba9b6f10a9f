// Who must hear of which change: node → container → paths, in memory. Rebuilt by the agents themselves after a restart of the
// core, because a stream that is not resumed makes them resolve all they hold again. To forget too late costs a superfluous
// frame, to forget too early a rotation, so a released container lingers: its restart may have been resolved already while
// the ledger's word about its end was still on the way.

/** Longer than a watch stream can be resumed: what could be missed after that is resolved anew anyway. */
export const LINGER_MS = 10 * 60_000;
/** Pairs of container and path per node; far above what a host runs, so only a node that means harm gets there. */
const MAX_PAIRS = 250_000;
/** Of the paths of all pairs of a node, in characters. */
const MAX_PATH_LENGTH = 32 * 1024 * 1024;

interface ContainerPaths {
  readonly paths: Set<string>;
  /** Set once the ledger said released. */
  releasedAt: number | undefined;
}

interface NodeHoldings {
  readonly containers: Map<string, ContainerPaths>;
  /** Path → how many containers hold it. */
  readonly counts: Map<string, number>;
  pairs: number;
  pathLength: number;
}

/** What a driver hears changes of stands here in place of a container. */
export const DRIVER_MEMORY = 'driver';

export class Holdings {
  readonly #now: () => number;
  readonly #nodes = new Map<string, NodeHoldings>();
  readonly #byPath = new Map<string, Set<string>>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Notes that a container holds, or is about to be told, the secret at `path`. False when the node holds too much. */
  add(nodeId: string, containerId: string, path: string): boolean {
    const node = ensure<NodeHoldings>(this.#nodes, nodeId, () => ({ containers: new Map(), counts: new Map(), pairs: 0, pathLength: 0 }));
    const known = node.containers.get(containerId);
    if (known !== undefined) known.releasedAt = undefined;
    if (known?.paths.has(path) === true) return true;
    if (node.pairs >= MAX_PAIRS || node.pathLength + path.length > MAX_PATH_LENGTH) return false; // before anything is noted
    ensure<ContainerPaths>(node.containers, containerId, () => ({ paths: new Set<string>(), releasedAt: undefined })).paths.add(path);
    node.pathLength += path.length;
    node.pairs++;
    node.counts.set(path, (node.counts.get(path) ?? 0) + 1);
    ensure(this.#byPath, path, () => new Set<string>()).add(nodeId);
    return true;
  }

  /** What the ledger said last of a container: true keeps what it holds, false lets it go after a while. */
  setHolding(nodeId: string, containerId: string, isHolding: boolean): void {
    const container = this.#nodes.get(nodeId)?.containers.get(containerId);
    if (container !== undefined) container.releasedAt = isHolding ? undefined : container.releasedAt ?? this.#now();
  }

  holdsContainer(nodeId: string, containerId: string): boolean {
    return this.#nodes.get(nodeId)?.containers.has(containerId) ?? false;
  }

  /** How many containers of a node hold secrets now, and how many secrets; a core that has just started hears it from the agents. */
  summary(nodeId: string): { readonly containers: number; readonly secrets: number } {
    const held = [...this.#nodes.get(nodeId)?.containers ?? []].filter(([id, { releasedAt }]) => id !== DRIVER_MEMORY && releasedAt === undefined);
    return { containers: held.length, secrets: new Set(held.flatMap(([, { paths }]) => [...paths])).size };
  }

  /** Nodes with at least one container that holds `path`. */
  nodesHolding(path: string): Iterable<string> {
    return this.#byPath.get(path) ?? [];
  }

  /** Forgets containers that were released long enough ago. */
  sweep(): void {
    const before = this.#now() - LINGER_MS;
    for (const [nodeId, node] of this.#nodes) {
      for (const [id, container] of node.containers) {
        if (container.releasedAt !== undefined && container.releasedAt <= before) this.#drop(nodeId, node, id, container);
      }
      if (node.containers.size === 0) this.#nodes.delete(nodeId);
    }
  }

  /** Forgets a node that was revoked. */
  dropNode(nodeId: string): void {
    const node = this.#nodes.get(nodeId);
    for (const path of node?.counts.keys() ?? []) this.#unlink(path, nodeId);
    this.#nodes.delete(nodeId);
  }

  #drop(nodeId: string, node: NodeHoldings, id: string, container: ContainerPaths): void {
    node.containers.delete(id);
    node.pairs -= container.paths.size;
    for (const path of container.paths) {
      node.pathLength -= path.length;
      const left = (node.counts.get(path) ?? 1) - 1;
      if (left > 0) {
        node.counts.set(path, left);
      } else {
        node.counts.delete(path);
        this.#unlink(path, nodeId);
      }
    }
  }

  #unlink(path: string, nodeId: string): void {
    const nodes = this.#byPath.get(path);
    nodes?.delete(nodeId);
    if (nodes?.size === 0) this.#byPath.delete(path);
  }
}

function ensure<V>(map: Map<string, V>, key: string, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

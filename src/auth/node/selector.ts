// Which containers a workload role means: pure matching, no I/O. All selectors of a role must match, a list is OR, `*` stands
// for any run of characters. A fact the workload does not have matches nothing, not even `*`.

import { matchesGlob } from '../../lib/glob.ts';

/** What the core knows of a container when it decides. */
export interface WorkloadFacts {
  readonly name: string;
  readonly image: string;
  readonly imageDigest?: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Names of the labels that the image brought. */
  readonly imageLabels?: readonly string[] | undefined;
  readonly service?: string | undefined;
  readonly stack?: string | undefined;
  /** Name of the node that asks, as the registry has it; never what the agent says. */
  readonly node?: string | undefined;
}

export interface Selectors {
  readonly name?: readonly string[] | undefined;
  readonly image?: readonly string[] | undefined;
  readonly image_digest?: readonly string[] | undefined;
  readonly service?: readonly string[] | undefined;
  readonly stack?: readonly string[] | undefined;
  readonly node?: readonly string[] | undefined;
  readonly label?: Readonly<Record<string, readonly string[]>> | undefined;
}

/**
 * True when every selector matches; a role without selectors matches everything, which only `any: true` may store. A label that the image brought
 * counts only where the role names images too: else whoever makes an image could give it the label of a team.
 */
export function selects(selectors: Selectors, facts: WorkloadFacts): boolean {
  return matchesOne(selectors.name, facts.name)
    && matchesOne(selectors.image, facts.image)
    && matchesOne(selectors.image_digest, facts.imageDigest)
    && matchesOne(selectors.service, facts.service)
    && matchesOne(selectors.stack, facts.stack)
    && matchesOne(selectors.node, facts.node)
    && Object.entries(selectors.label ?? {}).every(([key, patterns]) => matchesOne(patterns, labelOf(facts, key, selectors)));
}

function labelOf({ labels, imageLabels }: WorkloadFacts, key: string, { image, image_digest: digest }: Selectors): string | undefined {
  if (image === undefined && digest === undefined && imageLabels?.includes(key) === true) return undefined;
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

function matchesOne(patterns: readonly string[] | undefined, value: string | undefined): boolean {
  return patterns === undefined || (value !== undefined && patterns.some((pattern) => matchesGlob(pattern, value)));
}

// One row of history: something that happened, with what the core knew of the container at that moment, so that a row explains
// itself after the container is gone. Also its place in time, and the subjects under which it is found. No values, ever.

import { createHash } from 'node:crypto';

import type { UsageEntry } from '../../wire/node-protocol.ts';
import type { ProcessCount, RotateAction } from '../record.ts';

export interface ContainerFacts {
  /** Absent for a Swarm task whose container does not exist yet. */
  readonly id?: string | undefined;
  readonly name: string;
  readonly image: string;
  readonly service?: string | undefined;
  readonly stack?: string | undefined;
  readonly task_id?: string | undefined;
}

type Without<E> = E extends UsageEntry ? Omit<E, 'seq' | 'time' | 'container' | 'container_id'> : never;
/** What a node reported. */
export type ReportedEntry = Without<UsageEntry>;

/** What the core itself refused, when a container or a Swarm task asked for a secret. */
export interface DeniedEntry {
  readonly type: 'denied';
  /** Who asked: the agent of a node at a container's start, or the driver for a Swarm secret. */
  readonly source: 'resolve' | 'swarm-secret';
  readonly path?: string | undefined;
  readonly swarm_secret?: string | undefined;
  readonly code: string;
  readonly reason: string;
  /** How often since the row before it about the same. */
  readonly count: number;
  readonly first: number;
}

export interface HeldSecret {
  readonly path: string;
  readonly field?: string | undefined;
  readonly target: string;
  readonly version: number;
  readonly granted: number | null;
  readonly rotated: number | null;
  readonly released: number;
  readonly reason: string | null;
  readonly opens: number;
  readonly last_opened: number | null;
  readonly processes: readonly ProcessCount[];
  readonly pinned: boolean;
  readonly unknown: boolean;
  readonly clock_adjusted: boolean;
}

/** The whole stay of a container that is gone, made by the core from the live records that it replaces. */
export interface HeldEntry {
  readonly type: 'held';
  readonly secrets: readonly HeldSecret[];
  readonly refused: number;
  readonly processes: readonly ProcessCount[];
  readonly action?: RotateAction | undefined;
}

export interface HistoryRow {
  /** Milliseconds since the epoch, as the ledger accepts it. */
  readonly at: number;
  /** The node's number of the entry; together with time and node it makes the order total. */
  readonly seq: number;
  readonly node: string;
  readonly node_name: string;
  readonly container: ContainerFacts;
  readonly entry: ReportedEntry | DeniedEntry | HeldEntry;
  readonly unknown?: true | undefined;
  readonly overflow?: true | undefined;
  /** The time the node gave, when it is not believed. */
  readonly clock?: string | undefined;
}

/** A place between rows. */
export type Position = Pick<HistoryRow, 'at' | 'seq' | 'node'>;

/** Sorts the newest first. */
export function newestFirst(a: Position, b: Position): number {
  return b.at - a.at || b.seq - a.seq || (a.node < b.node ? 1 : a.node > b.node ? -1 : 0);
}

/** A subject: what a question can be about. */
export type PlainSubject = `${'secret' | 'container' | 'name' | 'service' | 'node' | 'type'}:${string}`;
/** Of a row that tells a whole stay (`held`); `stay:any` are all of them. */
export type StaySubject = `stay:${PlainSubject | 'any'}`;
export type Subject = PlainSubject | StaySubject;

/** Digits of a container's id that name it; what `docker ps` shows. */
export const SHORT_ID = 12;

/** 48 bits of a hash: a false match costs one block opened in vain. */
export function subjectHash(subject: Subject): number {
  return createHash('sha256').update(subject, 'utf8').digest().readUIntBE(0, 6);
}

/** Everything a row is about. */
export function* subjectsOf({ node, container, entry }: HistoryRow): Generator<PlainSubject> {
  yield `type:${entry.type}`;
  yield `node:${node}`;
  if (container.id !== undefined) yield `container:${container.id.slice(0, SHORT_ID)}`;
  if (container.name !== '') yield `name:${container.name}`;
  if (container.service !== undefined) yield `service:${container.service}`;
  for (const path of pathsOf(entry)) yield `secret:${path}`;
}

/** What a stay is about, each with its earliest grant in milliseconds since the epoch; 0 when a grant is not known. */
export function* staysOf({ node, container: { service }, entry }: HistoryRow): Generator<readonly [StaySubject, number]> {
  if (entry.type !== 'held') return;
  const earliest = entry.secrets.reduce((first, { granted }) => Math.min(first, granted ?? 0), Infinity);
  if (earliest === Infinity) return;
  yield ['stay:any', earliest];
  yield [`stay:node:${node}`, earliest];
  if (service !== undefined) yield [`stay:service:${service}`, earliest];
  for (const { path, granted } of entry.secrets) yield [`stay:secret:${path}`, granted ?? 0];
}

/** What stands in the text of every row about the subject, as JSON.stringify writes it; a row that holds it need not be about it. */
export function textOf(subject: Subject): string {
  if (subject === 'stay:any') return textOf('type:held');
  const [kind = '', ...rest] = subject.split(':');
  const value = rest.join(':');
  if (kind === 'stay') return textOf(value as PlainSubject);
  // The beginning of an id, so without the closing quote.
  if (kind === 'container') return `"id":"${value}`;
  return `"${kind === 'secret' ? 'path' : kind}":${JSON.stringify(value)}`;
}

/** The secrets an entry names. */
export function pathsOf(entry: HistoryRow['entry']): readonly string[] {
  if ('secrets' in entry) return entry.secrets.map(({ path }) => path);
  return 'path' in entry && entry.path !== undefined ? [entry.path] : [];
}

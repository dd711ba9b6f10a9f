// Which blocks of a day can answer a question. Each block comes with a head, in one transaction; the heads of many full blocks are later
// turned into a segment, in one transaction with their deletion. So a block is in a segment or has a head, and one that a race shows
// as neither is opened: the index can cost time when it is wrong, never a row.

import { randomBytes } from 'node:crypto';

import type { View, ViewOperation } from '../../core/view.ts';
import { decodeBlock, type BlockName } from './block.ts';
import { decodeHead, headOf, mayConcern, type Head, type Wanted } from './head.ts';
import { BUCKET_NAMES, bucketOf, encodeSegment, lookUp, SEGMENT_BLOCKS, type Lookup } from './segment.ts';

/** A day that is over gets a segment for so many blocks; fewer heads cost less than its buckets. */
const LAST_SEGMENT_BLOCKS = 8;

export class BlockIndex {
  readonly #view: View;

  constructor(view: View) {
    this.#view = view;
  }

  /** Tells of the blocks of a day, listed before, whether they can hold what is wanted. @throws ERR_RECORD_INVALID */
  async finder(day: string, wanted: Wanted): Promise<(block: BlockName) => Promise<boolean>> {
    // The heads first: a head that is turned into a segment meanwhile is in both.
    const heads = new Set(await this.#view.list(`head/${day}/`));
    const lookups: readonly Lookup[] = [...wanted.subjects.map((hash) => ({ hash })), ...wanted.stays.map((hash) => ({ hash, grantedUntil: wanted.grantedUntil }))];
    const covered = new Map<string, boolean>();
    for (const segment of await this.#view.list(`index/${day}/`)) {
      const buckets = await Promise.all(lookups.map(async (lookup) => {
        const bucket = await this.#view.get(`index/${day}/${segment}${bucketOf(lookup.hash)}`);
        return bucket && lookUp(bucket, lookup);
      }));
      for (const id of buckets[0]?.covered ?? []) covered.set(id, buckets.every((bucket) => bucket?.found.has(id) !== false));
    }
    return async ({ text, id }) => {
      const known = covered.get(id);
      if (known !== undefined || !heads.has(text)) return known ?? true;
      const head = await this.#view.get(`head/${day}/${text}`);
      return head === undefined || mayConcern(head, wanted);
    };
  }

  /**
   * Makes segments of blocks that have heads and that nothing will merge. @returns how many blocks are in them
   * @param isOver the day is; else only whole segments are made
   */
  async build(day: string, blocks: readonly BlockName[], isOver: boolean): Promise<number> {
    const heads = new Set(await this.#view.list(`head/${day}/`));
    const waiting = blocks.filter(({ text }) => heads.has(text));
    const least = isOver ? LAST_SEGMENT_BLOCKS : SEGMENT_BLOCKS;
    let done = 0;
    for (; waiting.length - done >= least; done += SEGMENT_BLOCKS) await this.#buildSegment(day, waiting.slice(done, done + SEGMENT_BLOCKS));
    return Math.min(done, waiting.length);
  }

  /** The deletions of everything about a day without blocks. */
  async deletions(day: string): Promise<ViewOperation[]> {
    const segments = await this.#view.list(`index/${day}/`);
    return segments.flatMap((segment) => BUCKET_NAMES.map((bucket) => ({ kind: 'delete', key: `index/${day}/${segment}${bucket}` }) as const));
  }

  /** Days that have segments. */
  async days(): Promise<string[]> {
    return (await this.#view.list('index/')).map((day) => day.replace(/\/$/, ''));
  }

  async #buildSegment(day: string, blocks: readonly BlockName[]): Promise<void> {
    const heads = await Promise.all(blocks.map(async (block) => ({ id: block.id, head: await this.#headOf(day, block) })));
    const segment = `index/${day}/${randomBytes(6).toString('hex')}`;
    await this.#view.transaction([
      ...[...encodeSegment(heads.flatMap(({ id, head }) => (head === undefined ? [] : [{ id, head }])))].map(([bucket, value]) => ({ kind: 'put', key: `${segment}/${bucket}`, value }) as const),
      ...blocks.map(({ text }) => ({ kind: 'delete', key: `head/${day}/${text}` }) as const),
    ]);
  }

  /** @returns undefined for a block that is gone */
  async #headOf(day: string, { text }: BlockName): Promise<Head | undefined> {
    const stored = await this.#view.get(`head/${day}/${text}`);
    const head = stored && decodeHead(stored);
    if (head !== undefined) return head;
    const body = await this.#view.get(`block/${day}/${text}`);
    return body && headOf(await decodeBlock(body));
  }
}

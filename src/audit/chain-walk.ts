// Follows the chain through lines and says what is wrong with the first that does not fit. Bytes that are no line of ours are
// accepted only when a torn-marker of the chain itself names their length and hash.

import { createHash } from 'node:crypto';
import type { Hash as RunningHash } from 'node:crypto';

import type { MacKey } from '../crypto/mac.ts';
import { constantTimeEqual, utf8 } from '../lib/bytes.ts';
import { nextHead, parseLine } from './chain.ts';
import type { Head, Link } from './chain.ts';
import type { Line } from './lines.ts';
import { parseMarker } from './marker.ts';

/**
 * removed: lines are missing here · reordered: the line stands elsewhere in the file · repeated: a number comes again ·
 * altered: the content does not fit its code · foreign: not a line of this program · cut: the end is missing · torn: the last
 * line is incomplete and not closed off yet
 */
export type ProblemKind = 'removed' | 'reordered' | 'repeated' | 'altered' | 'foreign' | 'cut' | 'torn';

export interface Problem {
  readonly kind: ProblemKind;
  /** Counted from 1, from where the walk began. */
  readonly line: number;
  /** The number that was expected there. */
  readonly seq: number;
  readonly message: string;
}

interface Torn { readonly hash: RunningHash; readonly line: number; bytes: number }

export class ChainWalk {
  readonly #key: MacKey;
  #head: Head | undefined;
  #first: Head | undefined;
  #lines = 0;
  #tornCount = 0;
  #torn: Torn | undefined;

  /** @param head where the chain stands before the first line; undefined: the first line is the beginning of a file */
  constructor(key: MacKey, head?: Head) {
    this.#key = key;
    this.#head = head;
    this.#first = head;
  }

  /** The last good line; undefined before the first. */
  get head(): Head | undefined { return this.#head; }
  /** What the first line is chained to. */
  get first(): Head | undefined { return this.#first; }
  get lines(): number { return this.#lines; }
  get tornCount(): number { return this.#tornCount; }
  /** Length and hash of the bytes at the end that no marker has closed off yet. */
  get torn(): { readonly bytes: number; readonly sha256: string } | undefined {
    return this.#torn && { bytes: this.#torn.bytes, sha256: this.#torn.hash.copy().digest('hex') };
  }

  /** Takes the next line. @returns what is wrong with it, or undefined */
  accept(line: Line): Problem | undefined {
    this.#lines++;
    const link = parseLine(line.bytes);
    if (link === undefined) {
      this.#addTorn(line);
      return undefined;
    }
    return this.#acceptLink(link);
  }

  /** At the end of the file. */
  finish(): Problem | undefined {
    return this.#torn && this.#problem('torn', 'the last line is incomplete', this.#torn.line);
  }

  #acceptLink(link: Link): Problem | undefined {
    const marker = parseMarker(link.body);
    if (this.#head === undefined) {
      if (marker?.event !== 'begin') return this.#problem(this.#torn === undefined ? 'removed' : 'foreign', 'the file does not begin with its first line', 1);
      this.#head = this.#first = { seq: link.seq - 1, mac: marker.previous };
    }
    if (this.#torn !== undefined && marker?.event !== 'torn') return this.#problem('foreign', 'this is not a line of an audit file', this.#torn.line);
    const expected = this.#head.seq + 1;
    if (link.seq > expected) return this.#problem('removed', `lines ${expected} to ${link.seq - 1} of the chain are missing`);
    if (link.seq < expected) return this.#problem('repeated', `line ${link.seq} of the chain comes again or late`);
    const head = nextHead(this.#key, this.#head, link.body);
    if (!constantTimeEqual(utf8(head.mac), utf8(link.mac))) return this.#problem('altered', 'the line was altered');
    if (marker?.event === 'torn' && !this.#closeTorn(marker)) return this.#problem('altered', 'what was torn here was altered or removed');
    this.#head = head;
    return undefined;
  }

  /** The hash runs over the bytes and the LFs between them, not over the LF that closed them off. */
  #addTorn(line: Line): void {
    if (this.#torn === undefined) this.#torn = { hash: createHash('sha256'), line: this.#lines, bytes: 0 };
    else {
      this.#torn.hash.update('\n');
      this.#torn.bytes++;
    }
    this.#torn.hash.update(line.bytes);
    this.#torn.bytes += line.bytes.length;
  }

  #closeTorn(marker: { readonly bytes: number; readonly sha256: string }): boolean {
    const torn = this.#torn;
    this.#torn = undefined;
    this.#tornCount++;
    return torn?.bytes === marker.bytes && torn.hash.digest('hex') === marker.sha256;
  }

  #problem(kind: ProblemKind, message: string, line = this.#lines): Problem {
    return { kind, line, seq: (this.#head?.seq ?? 0) + 1, message };
  }
}

// Several files of one chain, such as those that a log rotation left: proves each, puts them in the order of their numbers, and
// says from which line to which the log is sound. Needs nothing but the files and the chain key, so it also works where no
// core runs.

import { basename } from 'node:path';

import { MacKey } from '../crypto/mac.ts';
import { constantTimeEqual, utf8 } from '../lib/bytes.ts';
import { messageOf } from '../lib/errors.ts';
import type { Problem } from './chain-walk.ts';
import { verifyFile } from './verify.ts';
import type { VerifyReport } from './verify.ts';

export interface FileReport {
  readonly file: string;
  /** Numbers of the first and the last sound line; absent when there is none. */
  readonly from?: number;
  readonly to?: number;
  readonly lines: number;
  /** Lines cut by a crash, closed off and accounted for. */
  readonly torn: number;
  readonly problem?: Problem;
  /** Why the file could not be read. */
  readonly unreadable?: string;
}

export interface ChainReport {
  readonly isSound: boolean;
  /** In the order of the chain. */
  readonly files: readonly FileReport[];
  /** Stretches without a fault in or between files. */
  readonly sound: readonly { readonly from: number; readonly to: number }[];
  /** What is wrong between files. */
  readonly gaps: readonly string[];
}

export interface Checked { readonly file: string; readonly report?: VerifyReport; readonly unreadable?: string }

/** @param paths read one after the other @param chainKey 32 bytes, as `purser audit key` exports them */
export async function verifyFiles(paths: readonly string[], chainKey: Uint8Array): Promise<ChainReport> {
  return joinReports(await checkFiles(paths, new MacKey(chainKey)));
}

export async function checkFiles(paths: readonly string[], chainKey: MacKey): Promise<Checked[]> {
  const checked: Checked[] = [];
  for (const path of paths) {
    const file = basename(path);
    checked.push(await verifyFile(path, { chainKey }).then((report) => ({ file, report }), (error: unknown) => ({ file, unreadable: messageOf(error) })));
  }
  return checked;
}

/** Puts the reports of single files together. */
export function joinReports(checked: readonly Checked[]): ChainReport {
  const ordered = [...checked].sort((a, b) => (a.report?.first?.seq ?? Infinity) - (b.report?.first?.seq ?? Infinity));
  const sound: { from: number; to: number }[] = [];
  const gaps: string[] = [];
  let before: { readonly file: string; readonly report: VerifyReport } | undefined;
  for (const { file, report } of ordered) {
    if (report?.first === undefined || report.last === undefined) continue;
    const gap = before && gapBetween(before, { file, report });
    if (gap !== undefined) gaps.push(gap);
    const range = { from: report.first.seq + 1, to: report.last.seq };
    const open = sound.at(-1);
    if (range.to >= range.from) {
      if (open !== undefined && gap === undefined && before?.report.problem === undefined) open.to = range.to;
      else sound.push(range);
    }
    before = { file, report };
  }
  const files = ordered.map(reportOf);
  return { isSound: gaps.length === 0 && files.every(({ problem, unreadable, lines }) => problem === undefined && unreadable === undefined && lines > 0), files, sound, gaps };
}

function gapBetween(before: { readonly file: string; readonly report: VerifyReport }, after: { readonly file: string; readonly report: VerifyReport }): string | undefined {
  const end = before.report.last!;
  const start = after.report.first!;
  const where = `between ${before.file} and ${after.file}`;
  if (start.seq > end.seq) return `lines ${end.seq + 1} to ${start.seq} of the chain are missing ${where}`;
  if (start.seq < end.seq) return `${after.file} begins with line ${start.seq + 1} of the chain, which ${before.file} has already`;
  return constantTimeEqual(utf8(end.mac), utf8(start.mac)) ? undefined : `the chains do not meet ${where}: they are of different devices, or one was made up`;
}

function reportOf({ file, report, unreadable }: Checked): FileReport {
  if (report === undefined) return { file, lines: 0, torn: 0, ...(unreadable === undefined ? {} : { unreadable }) };
  const { first, last, lines, torn, problem } = report;
  const range = first === undefined || last === undefined || last.seq <= first.seq ? {} : { from: first.seq + 1, to: last.seq };
  return { file, ...range, lines, torn, ...(problem === undefined ? {} : { problem }) };
}

// The only file that prints. Results go to stdout, everything else to stderr, in one voice: `purser: error: …` and then
// `purser: hint: …` with what to type next. Control characters in data never reach a terminal.

import { isPurserError, messageOf } from '../lib/errors.ts';

export type Format = 'table' | 'json' | 'csv';

/** For a command line that is wrong in a way that names no better advice. */
export const USAGE_HINT = 'see purser --help, or --help after a command';

/** Cells of one row, by column; absent cells print as an empty one. */
export type Row = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Output {
  /** One plain line of the result. */
  line(text: string): void;
  json(value: unknown): void;
  /** Rows in the format asked for; `columns` are the keys of the rows, in order, and head the table in capitals. */
  rows(format: Format, columns: readonly string[], rows: readonly Row[]): void;
  /** Empties the terminal before a result is shown anew; elsewhere the results follow one another. */
  clear(): void;
  /** A remark beside the result. */
  note(text: string): void;
  warn(text: string): void;
  error(error: unknown): void;
}

/** Writes to the two streams of this process. */
export function createOutput(stdout: NodeJS.WritableStream = process.stdout, stderr: NodeJS.WritableStream = process.stderr): Output {
  // A pipe gets the bytes as they are; a terminal would obey them. The line ends of CSV are none of those.
  const line = (text: string): void => { stdout.write(`${'isTTY' in stdout && stdout.isTTY === true ? printable(text.replaceAll('\r\n', '\n')) : text}\n`); };
  const note = (text: string): void => { stderr.write(`${printable(text)}\n`); };
  return {
    line,
    json: (value) => { line(JSON.stringify(value, null, 2)); },
    rows: (format, columns, rows) => { line(formatRows(format, columns, rows)); },
    clear: () => { if ('isTTY' in stdout && stdout.isTTY === true) stdout.write('\u001b[H\u001b[2J\u001b[3J'); },
    note,
    warn: (text) => { note(`purser: warning: ${text}`); },
    error: (error) => {
      note(`purser: error: ${messageOf(error)}`);
      const hint = isPurserError(error) ? error.hint ?? (error.code === 'ERR_CLI_USAGE' ? USAGE_HINT : undefined) : undefined;
      if (hint !== undefined) note(`purser: hint: ${hint}`);
    },
  };
}

/** A JSON value as one cell: texts as they are, everything else as compact JSON. */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value) ?? '';
}

/** The entries of an object as rows of a two-column table. */
export function entryRows(object: Readonly<Record<string, unknown>>): Row[] {
  return Object.entries(object).map(([key, value]) => ({ key, value: textOf(value) }));
}

/** Rows as an aligned table, a JSON array or RFC 4180 CSV. */
export function formatRows(format: Format, columns: readonly string[], rows: readonly Row[]): string {
  if (format === 'json') return JSON.stringify(rows, null, 2);
  const cells = rows.map((row) => columns.map((column) => String(row[column] ?? '')));
  if (format === 'csv') return [columns, ...cells].map((row) => row.map(csvCell).join(',')).join('\r\n');
  const table = [columns.map((column) => column.replaceAll('_', ' ').toUpperCase()), ...cells.map((row) => row.map(oneLine))];
  // No spread into Math.max: its number of arguments is bounded.
  const widths = columns.map((_, index) => table.reduce((width, row) => Math.max(width, row[index]?.length ?? 0), 0));
  return table.map((row) => row.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join('  ').trimEnd()).join('\n');
}

// A spreadsheet runs a cell that starts with one of these as a formula; names come from containers, so from anybody.
function csvCell(cell: string): string {
  const safe = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A table has one line a row, whatever a container called its program. */
function oneLine(text: string): string {
  return printable(text.replaceAll('\n', '\\n').replaceAll('\t', '\\t'));
}

/** Without what a terminal obeys: control characters, and those that turn the direction of what follows. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
}

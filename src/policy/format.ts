// A policy's text in one layout: two blanks a level, attributes that follow each other with their `=` below one another, comments kept.
// The layout alone changes: the rules before and after are compared, and a text for which they differ is refused.

import { PurserError } from '../lib/errors.ts';
import { policyError } from './hcl-lexer.ts';
import { parsePolicy } from './parse.ts';

const ATTRIBUTE = /^("(?:[^"\\]|\\.)*"|[\p{L}_][\p{L}\p{N}_.-]*)\s*=\s*(.*)$/u;

/** @throws ERR_POLICY_SYNTAX when `text` does not parse, or cannot be laid out (heredocs and comments between slashes and stars) */
export function formatPolicy(text: string): string {
  const before = parsePolicy('policy', text);
  const formatted = text.trimStart().startsWith('{') ? formatJson(text) : formatHcl(text);
  if (fingerprint(parsePolicy('policy', formatted)) !== fingerprint(before)) {
    throw new PurserError('ERR_POLICY_SYNTAX', 'the policy cannot be laid out without changing it', { hint: 'leave it as it is: it is valid' });
  }
  return formatted;
}

function formatJson(text: string): string {
  return `${JSON.stringify(JSON.parse(text), null, 2)}\n`;
}

function formatHcl(text: string): string {
  const laidOut: string[] = [];
  let depth = 0;
  for (const line of text.split(/\r?\n/).map((raw) => raw.trim())) {
    const { opened, closed, startsClosed } = bracketsOf(line);
    const level = Math.max(0, depth - startsClosed);
    laidOut.push(line === '' ? '' : `${'  '.repeat(level)}${line}`);
    depth += opened - closed;
  }
  return `${aligned(withoutExtraBlanks(laidOut)).join('\n')}\n`;
}

/** Brackets of a line outside of strings and comments, and how many it closes before anything else. */
function bracketsOf(line: string): { readonly opened: number; readonly closed: number; readonly startsClosed: number } {
  if (line.includes('<<') || line.includes('/*') || line.includes('*/')) {
    const code = line.replace(/"(?:[^"\\]|\\.)*"/g, '').replace(/(?:#|\/\/).*$/, '');
    if (/<<|\/\*|\*\//.test(code)) throw policyError('heredocs and comments between /* and */ are not laid out', 'use # for comments and quotes for texts, or leave the layout as it is');
  }
  const code = line.replace(/"(?:[^"\\]|\\.)*"/g, '""').replace(/(?:#|\/\/).*$/, '');
  const startsClosed = /^[}\])\s,]*/.exec(code)?.[0].replace(/[^}\])]/g, '').length ?? 0;
  return { opened: code.replace(/[^{[(]/g, '').length, closed: code.replace(/[^}\])]/g, '').length, startsClosed };
}

function withoutExtraBlanks(lines: readonly string[]): string[] {
  const kept = lines.filter((line, index) => line !== '' || (index > 0 && lines[index - 1] !== ''));
  while (kept.at(-1) === '') kept.pop();
  while (kept[0] === '') kept.shift();
  return kept;
}

/** Runs of attributes at one level share the column of their `=`. */
function aligned(lines: readonly string[]): string[] {
  const result = [...lines];
  for (let start = 0; start < result.length;) {
    const indent = indentOf(result[start]!);
    let end = start;
    while (end < result.length && ATTRIBUTE.test(result[end]!.trim()) && indentOf(result[end]!) === indent) end += 1;
    const run = result.slice(start, end).map((line) => ATTRIBUTE.exec(line.trim())!);
    const width = Math.max(0, ...run.map(([, name]) => name!.length));
    run.forEach(([, name, value], index) => { result[start + index] = `${indent}${name!.padEnd(width)} = ${value!}`.trimEnd(); });
    start = Math.max(end, start + 1);
  }
  return result;
}

function indentOf(line: string): string {
  return /^ */.exec(line)![0];
}

/** What a policy means, as text: all rules with all their parts. */
function fingerprint(policy: ReturnType<typeof parsePolicy>): string {
  return JSON.stringify({ rules: policy.rules, templates: policy.templates }, (_key, value: unknown) => (value instanceof Map ? [...value as Map<unknown, unknown>] : value instanceof Set ? [...value as Set<unknown>] : value));
}

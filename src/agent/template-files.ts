// A template between the core and the container: the text, from the label or from the core; the references to ask for; and, out of the
// answers, the bytes of the file with the secrets and versions that are in them. What cannot be had is an error that names the template,
// the path and the field.

import { PurserError, isPurserError } from '../lib/errors.ts';
import type { JsonValue } from '../lib/json.ts';
import { bytesOfValue } from '../lib/secret-bytes.ts';
import { MAX_REFERENCES } from '../wire/node-protocol.ts';
import type { ResolveResult, Workload } from '../wire/node-protocol.ts';
import { describeReference, formatReference, parseReference } from '../wire/reference.ts';
import type { Reference } from '../wire/reference.ts';
import type { ContainerRecord, GrantedFile, HeldSecret } from './container-record.ts';
import type { CoreLink } from './core-link.ts';
import { explainOutcome } from './resolve-outcome.ts';
import { renderTemplate } from './template-render.ts';
import { parseTemplateText } from './template.ts';
import type { Template } from './template.ts';

/** Where the text of a template is. */
export interface TemplateSource {
  /** Such as `label purser.template.conf`. */
  readonly origin: string;
  /** The text itself, or a reference whose value it is. */
  readonly text: { readonly inline: string } | { readonly reference: string };
}

/** A template whose text is known, with what the core said about the text when it came from there. */
export interface OpenTemplate {
  readonly origin: string;
  readonly template: Template;
  readonly text: HeldSecret | undefined;
}

export interface Rendering {
  /** For the caller to erase. */
  readonly content: Uint8Array;
  /** What is in it; first the text, when it came from the core. */
  readonly secrets: readonly HeldSecret[];
}

/**
 * Reads the texts of templates, in one question to the core when any is there.
 * @returns one result for each source, per workload and in order; an error for a text that cannot be had or is no template
 * @throws ERR_CLIENT_*, ERR_NODE_* when the core cannot be asked
 */
export async function openTemplates(core: Pick<CoreLink, 'resolve'>, asked: readonly { readonly workload: Workload; readonly sources: readonly TemplateSource[] }[]): Promise<(OpenTemplate | PurserError)[][]> {
  const questions = asked.map(({ workload, sources }) => ({ workload, references: sources.flatMap(({ text }) => 'reference' in text ? [text.reference] : []) }));
  const wanted = questions.filter(({ references }) => references.length > 0);
  const { workloads } = wanted.length === 0 ? { workloads: [] } : await core.resolve({ workloads: wanted.map(({ workload, references }) => ({ ...workload, references })) });
  return asked.map(({ sources }, index) => {
    const at = wanted.indexOf(questions[index] as (typeof questions)[number]);
    const results = [...workloads[at]?.results ?? []];
    return sources.map((source) => settled(() => open(source, 'reference' in source.text ? results.shift() : undefined)));
  });
}

/** What to ask the core for, to render it. */
export function templateReferences({ template }: OpenTemplate): string[] {
  return template.secrets.map(formatReference);
}

/**
 * @param results the answers to templateReferences(), in that order
 * @throws ERR_RESOLVE_*, ERR_TEMPLATE_RENDER
 */
export function renderAnswers({ template, origin, text }: OpenTemplate, results: readonly (ResolveResult | undefined)[]): Rendering {
  const secrets: HeldSecret[] = text === undefined ? [] : [text];
  const values = template.secrets.map((reference, index) => {
    const result = results[index];
    if (result?.outcome !== 'value') throw explained(origin, explainOutcome(plain(reference), result));
    secrets.push(heldOf(formatReference(reference), result));
    return jsonOf(result.value);
  });
  return { content: renderTemplate(template, values, origin), secrets };
}

/** The templates among the files of containers, opened; an error for one that cannot be rendered any more. @throws as openTemplates() */
export async function openGranted(core: Pick<CoreLink, 'resolve'>, asked: readonly { readonly record: ContainerRecord; readonly files: readonly GrantedFile[] }[]): Promise<ReadonlyMap<GrantedFile, OpenTemplate | PurserError>> {
  const questions = asked.map(({ record, files }) => ({ workload: record.workload, files: files.flatMap((file) => isTemplateFile(file) ? [file] : []) }));
  const opened = await openTemplates(core, questions.map(({ workload, files }) => ({ workload, sources: files.map(sourceOf) })));
  return new Map(questions.flatMap(({ files }, index) => {
    const room = { references: MAX_REFERENCES - (asked[index]?.files.length ?? 0) };
    return files.map((file, at): [GrantedFile, OpenTemplate | PurserError] => [file, limited(opened[index]?.[at] as OpenTemplate | PurserError, room)]);
  }));
}

/** A granted template with what a rendering put into it; its version moves when one of its secrets' does. */
export function rerendered(file: GrantedFile, { secrets }: Rendering): GrantedFile {
  if (!isTemplateFile(file)) return file;
  const isSame = JSON.stringify(secrets.map(keyOf)) === JSON.stringify(file.source.secrets.map(keyOf));
  return { ...file, version: isSame ? file.version : file.version + 1, source: { ...file.source, secrets: [...secrets] } };
}

type TemplateFile = GrantedFile & { readonly source: Extract<GrantedFile['source'], { type: 'template' }> };

function isTemplateFile(file: GrantedFile): file is TemplateFile {
  return file.source.type === 'template';
}

function sourceOf({ source: { origin, text, secrets } }: TemplateFile): TemplateSource {
  return { origin, text: text === undefined ? { reference: secrets[0]?.reference ?? '' } : { inline: text } };
}

/** A new text that asks for too much must not keep the other files of its container, or other containers, from their values. */
function limited(opened: OpenTemplate | PurserError, room: { references: number }): OpenTemplate | PurserError {
  if (opened instanceof PurserError) return opened;
  const wanted = opened.template.secrets.length;
  if (wanted > room.references) return new PurserError('ERR_TEMPLATE_SYNTAX', `${opened.origin}: with it the container asks for more than ${MAX_REFERENCES} references`, { hint: 'name a whole secret instead of each of its fields' });
  room.references -= wanted;
  return opened;
}

function keyOf({ reference, path, version }: HeldSecret): readonly unknown[] {
  return [reference, path, version];
}

function open({ origin, text }: TemplateSource, result: ResolveResult | undefined): OpenTemplate {
  if ('inline' in text) return { origin, template: parseTemplateText(text.inline, origin), text: undefined };
  const reference = parseReference(text.reference);
  // A default stands for a template that does not exist; it is no secret of any version.
  if (result?.outcome !== 'value' && result?.outcome !== 'default') throw explained(origin, explainOutcome(reference, result));
  const bytes = bytesOfValue(result.value);
  try {
    const content = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return { origin, template: parseTemplateText(content, origin), text: heldOf(describeReference(reference), result) };
  } catch (error) {
    throw isPurserError(error) ? error : new PurserError('ERR_TEMPLATE_SYNTAX', `${origin}: the text in the core is not UTF-8`, { hint: 'store the template as text' });
  } finally {
    bytes.fill(0);
  }
}

function heldOf(reference: string, { path, field, version }: Extract<ResolveResult, { outcome: 'value' | 'default' }>): HeldSecret {
  return { reference, path, version, ...(field === undefined ? {} : { field }) };
}

function jsonOf(value: string): JsonValue {
  const bytes = bytesOfValue(value);
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')) as JsonValue;
  } catch {
    throw new PurserError('ERR_CLIENT_PROTOCOL', 'the core gave no JSON for a template', { hint: 'run the core and the agent in the same version' });
  } finally {
    bytes.fill(0);
  }
}

/** Without the form in which it is asked for, as whoever wrote the template knows it. */
function plain({ path, field }: Reference): Reference {
  return { path, isOptional: false, encoding: 'raw', ...(field === undefined ? {} : { field }) };
}

function explained(origin: string, error: PurserError): PurserError {
  return new PurserError(error.code, `${origin}: ${error.message}`, error.hint === undefined ? {} : { hint: error.hint });
}

function settled(action: () => OpenTemplate): OpenTemplate | PurserError {
  try {
    return action();
  } catch (error) {
    if (isPurserError(error)) return error;
    throw error;
  }
}

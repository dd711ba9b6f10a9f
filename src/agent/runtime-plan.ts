// What `purser runtime install` and `uninstall` make of the text of daemon.json. Pure: text in, text out. Merges and never overwrites: keys,
// their order and every number stay; what cannot be merged without guessing is refused before anything is written.

import { createHash } from 'node:crypto';
import { PurserError, messageOf } from '../lib/errors.ts';
import { isLosslessObject, parseLossless, stringifyLossless } from '../lib/lossless-json.ts';
import type { LosslessObject } from '../lib/lossless-json.ts';

/** The name of the runtime in Docker's configuration. */
export const RUNTIME_NAME = 'purser';
/** Docker's own runtime, which it uses when none is configured. */
const STOCK_RUNTIME = 'runc';
const DEFAULT_KEY = 'default-runtime';
const MEND = 'mend it, then try again; nothing was changed';

/** What an installation remembers so that uninstall puts things back. */
export interface SavedRuntime {
  /** Where the shim was installed. */
  readonly path: string;
  /** The default runtime before; null when none was configured. */
  readonly previousDefault: string | null;
  /** True when there was no daemon.json. */
  readonly isCreated: boolean;
  /** The file before the installation (null: none), and the SHA-256 of what was written: an untouched file goes back byte for byte. */
  readonly pristine?: { readonly text: string | null; readonly installedSha256: string };
}

export interface InstallPlan {
  readonly text: string;
  readonly isChanged: boolean;
  readonly saved: SavedRuntime;
}

export interface UninstallPlan {
  /** The file in the end; undefined: no file. */
  readonly text: string | undefined;
  readonly isChanged: boolean;
  /**
   * For a running dockerd, which keeps an old setting when its key is gone (moby daemon/reload_unix.go): the same content with default
   * runtime and runtimes spelled out. Loaded first, then replaced by `text`.
   */
  readonly reloadText: string;
  /** What dockerd's default runtime is then. */
  readonly defaultRuntime: string;
}

/**
 * @param text the content of daemon.json; undefined when there is none
 * @param options.path where the shim is installed
 * @param options.saved what an earlier installation remembered
 * @throws ERR_RUNTIME_CONFIG when the file is not valid, or another runtime has the name
 */
export function planInstall(text: string | undefined, options: { readonly path: string; readonly saved?: SavedRuntime | undefined }): InstallPlan {
  const { path, saved } = options;
  const config = parseConfig(text);
  const runtimes = runtimesOf(config) ?? new Map<string, never>();
  const entry = ownEntry(runtimes, [path, ...saved === undefined ? [] : [saved.path]]);
  const current = defaultOf(config);
  if (entry?.get('path') === path && current === RUNTIME_NAME && text !== undefined) {
    return { text, isChanged: false, saved: saved ?? { path, previousDefault: null, isCreated: false } };
  }
  runtimes.set(RUNTIME_NAME, (entry ?? new Map()).set('path', path));
  config.set('runtimes', runtimes).set(DEFAULT_KEY, RUNTIME_NAME);
  const installed = serialize(config, text);
  // A file that already has our entry is no state to go back to.
  const isPristine = entry === undefined && current !== RUNTIME_NAME;
  return {
    text: installed,
    isChanged: true,
    saved: {
      path,
      previousDefault: current === RUNTIME_NAME ? saved?.previousDefault ?? null : current ?? null,
      isCreated: text === undefined || saved?.isCreated === true,
      ...isPristine ? { pristine: { text: text ?? null, installedSha256: sha256(installed) } } : {},
    },
  };
}

/**
 * @param saved what the installation remembered; undefined when that is lost
 * @param options.path where the shim is installed
 * @param options.keepEntry leave `runtimes.purser` in place, because containers still name it
 * @throws ERR_RUNTIME_CONFIG when the file is not valid, or another runtime has the name
 */
export function planUninstall(text: string | undefined, saved: SavedRuntime | undefined, options: { readonly path: string; readonly keepEntry: boolean }): UninstallPlan {
  const config = parseConfig(text);
  const runtimes = runtimesOf(config);
  const entry = runtimes === undefined ? undefined : ownEntry(runtimes, [options.path, ...saved === undefined ? [] : [saved.path]]);
  if (runtimes !== undefined && entry !== undefined && !options.keepEntry) {
    runtimes.delete(RUNTIME_NAME);
    if (runtimes.size === 0) config.delete('runtimes');
  }
  restoreDefault(config, saved?.previousDefault ?? null);
  const semantic = config.size === 0 && saved?.isCreated === true ? undefined : serialize(config, text);
  const isUntouched = text !== undefined && !options.keepEntry && sha256(text) === saved?.pristine?.installedSha256;
  const result = isUntouched ? saved.pristine.text ?? undefined : semantic;
  const isChanged = text !== undefined && (isUntouched || !isSameDocument(result, text));
  return { text: isChanged ? result : text, isChanged, reloadText: serialize(spelledOut(config), text), defaultRuntime: defaultOf(config) ?? STOCK_RUNTIME };
}

/** True when the configuration names the runtime: as an entry (of this path or any other), and as the default. */
export function inspectConfig(text: string | undefined): { readonly path: string | undefined; readonly isDefault: boolean } {
  const config = parseConfig(text);
  const entry = runtimesOf(config)?.get(RUNTIME_NAME);
  const path = isLosslessObject(entry) ? entry.get('path') : undefined;
  return { path: typeof path === 'string' ? path : undefined, isDefault: defaultOf(config) === RUNTIME_NAME };
}

/**
 * Refuses what daemon.json cannot change: dockerd takes a setting from a flag or from the file, and rejects a reload that has both.
 * @param argv the command line of the running dockerd
 * @throws ERR_RUNTIME_CONFIG
 */
export function refuseFlagConflicts(argv: readonly string[], daemonJson: string): void {
  for (const flag of ['--default-runtime', '--add-runtime']) {
    if (argv.some((arg) => arg === flag || arg.startsWith(`${flag}=`))) {
      throw new PurserError('ERR_RUNTIME_CONFIG', `dockerd was started with ${flag}, which daemon.json may not set as well`,
        { hint: `move ${flag} from the service of dockerd into ${daemonJson} (systemctl edit docker), restart Docker, then try again` });
    }
  }
  const at = argv.findIndex((arg) => arg === '--config-file' || arg.startsWith('--config-file='));
  const used = at === -1 ? undefined : argv[at]?.includes('=') === true ? argv[at].slice('--config-file='.length) : argv[at + 1];
  if (used !== undefined && used !== daemonJson) {
    throw new PurserError('ERR_RUNTIME_CONFIG', `dockerd reads ${used}, not ${daemonJson}`, { hint: `add --daemon-json ${used}` });
  }
}

function parseConfig(text: string | undefined): LosslessObject {
  if (text === undefined) return new Map();
  // dockerd ignores a byte order mark. An empty file is refused: older versions do not start with one, and it may be half written.
  const content = text.replace(/^\ufeff/, '');
  if (content.trim() === '') throw refused('daemon.json is empty', 'remove it, or write {} into it; nothing was changed');
  let config;
  try {
    config = parseLossless(content);
  } catch (error) {
    throw refused(`daemon.json is not valid JSON: ${messageOf(error)}`, MEND, error);
  }
  if (!isLosslessObject(config)) throw refused('daemon.json is no JSON object', MEND);
  return config;
}

function runtimesOf(config: LosslessObject): LosslessObject | undefined {
  const runtimes = config.get('runtimes');
  if (runtimes === undefined) return undefined;
  if (!isLosslessObject(runtimes)) throw refused('"runtimes" in daemon.json is no object', MEND);
  return runtimes;
}

/** @throws ERR_RUNTIME_CONFIG when the name belongs to a runtime that is not ours */
function ownEntry(runtimes: LosslessObject, ownPaths: readonly string[]): LosslessObject | undefined {
  const entry = runtimes.get(RUNTIME_NAME);
  if (entry === undefined) return undefined;
  const path = isLosslessObject(entry) ? entry.get('path') : undefined;
  if (!isLosslessObject(entry) || typeof path !== 'string' || !ownPaths.includes(path)) {
    throw refused(`daemon.json has another runtime called ${RUNTIME_NAME}`, `rename or remove it (runtimes.${RUNTIME_NAME}), then try again; nothing was changed`);
  }
  return entry;
}

function defaultOf(config: LosslessObject): string | undefined {
  const name = config.get(DEFAULT_KEY);
  if (name === undefined || typeof name === 'string') return name;
  throw refused(`"${DEFAULT_KEY}" in daemon.json is no string`, MEND);
}

/** Leaves a default that the operator chose meanwhile, and does not go back to a runtime that is gone: dockerd would not start. */
function restoreDefault(config: LosslessObject, previous: string | null): void {
  if (defaultOf(config) !== RUNTIME_NAME) return;
  if (previous !== null && (isBuiltIn(previous) || runtimesOf(config)?.has(previous) === true)) config.set(DEFAULT_KEY, previous);
  else config.delete(DEFAULT_KEY);
}

/** runc, and since Docker 23 containerd's shims by name or path. */
function isBuiltIn(name: string): boolean {
  return name === STOCK_RUNTIME || name.startsWith('io.containerd.') || name.startsWith('/');
}

function spelledOut(config: LosslessObject): LosslessObject {
  const full = new Map(config);
  full.set('runtimes', config.get('runtimes') ?? new Map());
  full.set(DEFAULT_KEY, defaultOf(config) ?? STOCK_RUNTIME);
  return full;
}

function isSameDocument(result: string | undefined, text: string): boolean {
  return result !== undefined && stringifyLossless(parseConfig(result)) === stringifyLossless(parseConfig(text));
}

/** Writes with the indentation that the file had. */
function serialize(config: LosslessObject, like: string | undefined): string {
  return `${stringifyLossless(config, /\n([ \t]+)"/.exec(like ?? '')?.[1] ?? '  ')}\n`;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function refused(message: string, hint: string, cause?: unknown): PurserError {
  return new PurserError('ERR_RUNTIME_CONFIG', message, { hint, cause });
}

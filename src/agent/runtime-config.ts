// `purser runtime install|uninstall|status`: the shim in Docker's configuration, by live reload and without touching a running container.
// Either dockerd has taken the change when these functions return, or everything is as it was before and the error says why.

import { readFile, realpath, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { makeDirectory } from '../lib/make-directory.ts';
import { readJsonFile, writeFileAtomic } from '../lib/atomic-file.ts';
import { PurserError, messageOf } from '../lib/errors.ts';
import { lockFile } from '../lib/file-lock.ts';
import { VERSION } from '../lib/version.ts';
import { DockerDaemon } from './docker-daemon.ts';
import type { DaemonRuntimes } from './docker-daemon.ts';
import { binaryState, installBinary, isSameFile, runtimeVersion } from './runtime-binary.ts';
import type { BinaryState } from './runtime-binary.ts';
import { RUNTIME_NAME, inspectConfig, planInstall, planUninstall, refuseFlagConflicts } from './runtime-plan.ts';
import type { SavedRuntime, UninstallPlan } from './runtime-plan.ts';

export interface RuntimeConfigOptions {
  readonly daemonJson?: string;
  readonly dockerSocket?: string;
  /** Where the shim is installed. */
  readonly binaryPath?: string;
  /** What an installation remembers; holds the former daemon.json. */
  readonly stateFile?: string;
  readonly pidFiles?: readonly string[];
  /** How long dockerd may take to apply a reload. */
  readonly reloadTimeoutMs?: number;
}

export interface RuntimeStatus {
  /** daemon.json names the shim, and the shim is there. */
  readonly installed: boolean;
  /** The path that daemon.json gives the runtime; undefined when it does not know it. */
  readonly configuredPath: string | undefined;
  /** daemon.json makes it the default runtime. */
  readonly default: boolean;
  /** The running dockerd starts containers through it; undefined when no dockerd answers. */
  readonly dockerLive: boolean | undefined;
  readonly binaryPath: string;
  readonly binary: BinaryState;
  readonly binaryVersion: string | undefined;
  /** The shim is of the same version as this program. */
  readonly versionMatches: boolean;
  /** The shim is byte for byte the one that an install would put there; undefined when one of them cannot be read. */
  readonly sameBuild: boolean | undefined;
}

type Settings = Required<Omit<RuntimeConfigOptions, 'pidFiles' | 'dockerSocket'>> & { readonly daemon: DockerDaemon };
type Undo = () => Promise<unknown>;

const savedSchema = z.strictObject({
  path: z.string().startsWith('/'),
  previousDefault: z.string().nullable(),
  isCreated: z.boolean(),
  pristine: z.strictObject({ text: z.string().nullable(), installedSha256: z.string() }).exactOptional(),
});

/**
 * Makes the shim Docker's default runtime. Again on an installed one: brings binary and configuration up to date, or does nothing.
 * @param options.source the built shim
 * @throws ERR_RUNTIME_CONFIG when the configuration cannot be merged or dockerd does not take it; ERR_DOCKER_UNAVAILABLE
 */
export async function installRuntime(options: RuntimeConfigOptions & { readonly source: string }): Promise<{ readonly changed: boolean }> {
  const settings = settle(options);
  return await exclusively(settings, async () => {
    const pid = await requirePid(settings, 'start Docker, then try again');
    refuseFlagConflicts(await settings.daemon.argv(pid), settings.daemonJson);
    const file = await readConfig(settings.daemonJson);
    const saved = await readSaved(settings);
    const plan = planInstall(file.text, { path: settings.binaryPath, saved });
    const isApplied = ({ defaultRuntime, paths }: DaemonRuntimes): boolean =>
      defaultRuntime === RUNTIME_NAME && (paths.get(RUNTIME_NAME) ?? settings.binaryPath) === settings.binaryPath && paths.has(RUNTIME_NAME);
    const isLive = isApplied(await settings.daemon.runtimes());
    return await undoOnFailure(async (undo) => {
      const undoBinary = await installBinary(options.source, settings.binaryPath);
      if (undoBinary !== undefined) undo.push(undoBinary);
      // Before daemon.json: whatever happens after it, uninstall knows the way back.
      await writeSaved(settings, plan.saved);
      undo.push(() => saved === undefined ? rm(settings.stateFile, { force: true }) : writeSaved(settings, saved));
      if (plan.isChanged || !isLive) {
        undo.push(() => restore(settings, file, pid));
        await writeConfig(file, plan.text);
        await reload(settings, pid, isApplied);
      }
      return { changed: plan.isChanged || !isLive || undoBinary !== undefined };
    });
  });
}

/**
 * Takes the shim out. While containers that were created with it exist, only the default goes back: they could not start or stop any more.
 * @param options.force take everything out all the same, and also when no dockerd runs
 * @returns `warnings` for the operator; `complete`: nothing of the installation is left
 * @throws ERR_RUNTIME_CONFIG; ERR_DOCKER_UNAVAILABLE
 */
export async function uninstallRuntime(options: RuntimeConfigOptions & { readonly force: boolean }):
Promise<{ readonly changed: boolean; readonly complete: boolean; readonly warnings: readonly string[] }> {
  const settings = settle(options);
  return await exclusively(settings, async () => {
    const file = await readConfig(settings.daemonJson);
    const saved = await readSaved(settings);
    const isBinaryThere = await runtimeVersion(settings.binaryPath) !== undefined;
    const configured = inspectConfig(file.text);
    if (saved === undefined && !isBinaryThere && configured.path === undefined && !configured.isDefault) return { changed: false, complete: true, warnings: [] };
    const pid = options.force ? await settings.daemon.pid() : await requirePid(settings, 'start Docker, or add --force to take the runtime out without it');
    const dependents = pid === undefined ? [] : await settings.daemon.containersWith(RUNTIME_NAME);
    const keepEntry = dependents.length > 0 && !options.force;
    const plan = planUninstall(file.text, saved, { path: settings.binaryPath, keepEntry });
    await undoOnFailure(async (undo) => {
      undo.push(() => restore(settings, file, pid));
      await applyUninstall(settings, file, plan, pid, keepEntry);
    });
    if (!keepEntry) {
      await rm(settings.binaryPath, { force: true });
      await rm(settings.stateFile, { force: true });
    }
    return { changed: plan.isChanged || !keepEntry, complete: !keepEntry, warnings: warningsFor(dependents, options.force) };
  });
}

/**
 * @param options.source the built shim
 * @throws ERR_RUNTIME_CONFIG when daemon.json is not valid
 */
export async function runtimeStatus(options: RuntimeConfigOptions & { readonly source: string }): Promise<RuntimeStatus> {
  const settings = settle(options);
  const configured = inspectConfig((await readConfig(settings.daemonJson)).text);
  const binaryVersion = await runtimeVersion(settings.binaryPath);
  const live = await settings.daemon.runtimes().catch(() => undefined);
  return {
    installed: configured.path === settings.binaryPath && binaryVersion !== undefined,
    configuredPath: configured.path,
    default: configured.isDefault,
    // dockerd before 25 tells no paths
    dockerLive: live === undefined ? undefined : live.defaultRuntime === RUNTIME_NAME && (live.paths.get(RUNTIME_NAME) ?? settings.binaryPath) === settings.binaryPath,
    binaryPath: settings.binaryPath,
    binary: await binaryState(settings.binaryPath, binaryVersion),
    binaryVersion,
    versionMatches: binaryVersion === VERSION,
    sameBuild: await isSameFile(options.source, settings.binaryPath),
  };
}

function settle(options: RuntimeConfigOptions): Settings {
  const { daemonJson = '/etc/docker/daemon.json', dockerSocket = '/run/docker.sock', binaryPath = '/usr/local/bin/purser-runtime',
    stateFile = '/var/lib/purser/runtime-install.json', reloadTimeoutMs = 10_000, pidFiles } = options;
  return { daemonJson, binaryPath, stateFile, reloadTimeoutMs, daemon: new DockerDaemon({ socketPath: dockerSocket, pidFiles }) };
}

/** Two of these at once would each save the other's half-done state. */
async function exclusively<T>(settings: Settings, action: () => Promise<T>): Promise<T> {
  makeDirectory(dirname(settings.stateFile), 0o711);
  const lock = lockFile(`${settings.stateFile}.lock`, { code: 'ERR_STATE_LOCKED', message: 'another purser runtime command is at work', hint: 'wait for it, then try again' });
  try {
    return await action();
  } finally {
    lock.release();
  }
}

/** Undoes, latest first, what `action` noted, when it fails; the first error is the one to report. */
async function undoOnFailure<T>(action: (undo: Undo[]) => Promise<T>): Promise<T> {
  const undo: Undo[] = [];
  try {
    return await action(undo);
  } catch (error) {
    for (const step of undo.reverse()) await step().catch(() => undefined);
    throw error;
  }
}

async function requirePid(settings: Settings, hint: string): Promise<number> {
  const pid = await settings.daemon.pid();
  if (pid === undefined) throw new PurserError('ERR_DOCKER_UNAVAILABLE', 'no Docker daemon runs on this machine', { hint });
  return pid;
}

async function reload(settings: Settings, pid: number, isApplied: (runtimes: DaemonRuntimes) => boolean): Promise<void> {
  if (await settings.daemon.reload(pid, isApplied, settings.reloadTimeoutMs)) return;
  throw new PurserError('ERR_RUNTIME_CONFIG', `dockerd did not apply ${settings.daemonJson} within ${settings.reloadTimeoutMs / 1000} s; it was put back`,
    { hint: 'its log says why: journalctl -u docker' });
}

async function applyUninstall(settings: Settings, file: ConfigFile, plan: UninstallPlan, pid: number | undefined, keepEntry: boolean): Promise<void> {
  if (pid !== undefined && file.text !== undefined) {
    refuseFlagConflicts(await settings.daemon.argv(pid), settings.daemonJson);
    const isApplied = ({ defaultRuntime, paths }: DaemonRuntimes): boolean => defaultRuntime === plan.defaultRuntime && (keepEntry || !paths.has(RUNTIME_NAME));
    if (!isApplied(await settings.daemon.runtimes())) {
      await writeConfig(file, plan.reloadText);
      await reload(settings, pid, isApplied);
    }
    await writeConfig(file, plan.text);
    await reload(settings, pid, isApplied);
  } else if (plan.isChanged) {
    await writeConfig(file, plan.text);
  }
}

async function restore(settings: Settings, file: ConfigFile, pid: number | undefined): Promise<void> {
  await writeConfig(file, file.text);
  if (pid !== undefined) await settings.daemon.reload(pid, () => true, settings.reloadTimeoutMs);
}

interface ConfigFile {
  /** With symbolic links resolved, so that a linked file stays a link. */
  readonly path: string;
  readonly text: string | undefined;
  readonly mode: number;
}

async function readConfig(path: string): Promise<ConfigFile> {
  try {
    const real = await realpath(path);
    const { mode } = await stat(real);
    return { path: real, text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(real)), mode: mode & 0o777 };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { path, text: undefined, mode: 0o644 };
    throw new PurserError('ERR_RUNTIME_CONFIG', `${path} cannot be read: ${messageOf(error)}`, { hint: 'mend it first; nothing was changed', cause: error });
  }
}

async function writeConfig(file: ConfigFile, text: string | undefined): Promise<void> {
  if (text === undefined) return await rm(file.path, { force: true });
  makeDirectory(dirname(file.path));
  await writeFileAtomic(file.path, text, { mode: file.mode });
}

async function readSaved(settings: Settings): Promise<SavedRuntime | undefined> {
  return await readJsonFile(settings.stateFile, (value) => savedSchema.parse(value));
}

/** 0600: daemon.json may name proxies with passwords and be closed to others. */
async function writeSaved(settings: Settings, saved: SavedRuntime): Promise<void> {
  await writeFileAtomic(settings.stateFile, `${JSON.stringify(saved)}\n`, { mode: 0o600 });
}

function warningsFor(dependents: readonly string[], isForced: boolean): readonly string[] {
  if (dependents.length === 0) return [];
  const some = dependents.slice(0, 5).join(', ') + (dependents.length > 5 ? ` and ${dependents.length - 5} more` : '');
  return [isForced
    ? `containers created with the runtime ${RUNTIME_NAME} cannot start any more: ${some} (create them anew)`
    : `the runtime stays configured, no longer as the default, for the containers that were created with it: ${some} (create them anew or docker rm them, then run purser runtime uninstall again, or add --force)`];
}

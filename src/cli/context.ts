// What a command gets from the program around it, and the exit codes that all of them share.

import type { Output } from './output.ts';

/** 0 done, 1 refused or failed, 2 the command line is wrong, 3 sealed (`purser status`). */
export const EXIT = { done: 0, failed: 1, usage: 2, sealed: 3 } as const;

/** What a command may ask of the other programs; main.ts loads each only when it is asked for. */
export interface Programs {
  /** The long-running ones resolve with the exit code. */
  readonly server: (options: object) => Promise<number>;
  readonly agent: (options: object) => Promise<number>;
  readonly keeper: (options: object) => Promise<number>;
  readonly driver: (options: object) => Promise<number>;
  readonly joinNode: (options: JoinOptions) => Promise<{ readonly address: string; readonly name: string }>;
  readonly runtime: () => Promise<RuntimeSetup>;
  readonly swarm: (dockerSocket: string) => Promise<SwarmInsight>;
}

export interface JoinOptions {
  readonly token: string;
  readonly name: string;
  readonly stateDirectory: string;
  readonly force: boolean;
  readonly swarmNodeId: string | undefined;
}

export interface RuntimeOptions {
  readonly daemonJson: string;
  readonly dockerSocket: string;
}

/** Installs the shim into a Docker Engine (agent/runtime-config.ts). */
export interface RuntimeSetup {
  installRuntime(options: RuntimeOptions & { readonly source: string }): Promise<{ readonly changed: boolean }>;
  uninstallRuntime(options: RuntimeOptions & { readonly force: boolean }): Promise<{ readonly changed: boolean; readonly complete: boolean; readonly warnings: readonly string[] }>;
  runtimeStatus(options: RuntimeOptions & { readonly source: string }): Promise<object>;
}

/** A Swarm service and what became of it, asked on a manager (driver/swarm-engine.ts). */
export interface SwarmInsight {
  diagnosis(service: string): Promise<ServiceDiagnosis | undefined>;
  hasPlugin(name: string): Promise<boolean>;
}

export interface ServiceDiagnosis {
  readonly secrets: readonly { readonly name: string; readonly driver: string | undefined; readonly labels: Readonly<Record<string, string>> }[];
  readonly running: number;
  readonly desired: number;
  readonly lastError: string | undefined;
}

/** What every command gets. */
export interface CommandContext {
  readonly output: Output;
  readonly programs: Programs;
  /** Sets the exit code of a command that did its work but has something to say (sealed, for one). */
  exit(code: number): void;
}

// What a container is, read from Docker's own record of it, `<docker root>/containers/<id>/config.v2.json`. Never from
// `inspect`: during a start dockerd holds the container's lock until the runtime returns, and the agent is what it waits for.

import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { PurserError } from '../lib/errors.ts';
import type { DockerContainer } from './workload.ts';

/** A Swarm secret as the task asks for it (moby: api/types/swarm SecretReference). */
export interface SwarmSecretReference {
  readonly secretId: string;
  readonly secretName: string;
  /** Absolute path in the container. */
  readonly target: string;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

export interface ContainerFacts {
  readonly container: DockerContainer;
  readonly swarmSecrets: readonly SwarmSecretReference[];
  /** Volumes of the driver purser; Docker notes the id of a mount once the container runs. */
  readonly volumes: readonly { readonly name: string; readonly destination: string; readonly mountId: string }[];
  readonly isRunning: boolean;
  /** Milliseconds since the epoch of the last start; 0 when it never started. */
  readonly startedAt: number;
  /** The main process on the host; 0 when it does not run. */
  readonly pid: number;
}

/** As users write it in volume-driver=…; also the name of the plugin's socket. */
export const VOLUME_DRIVER = 'purser';

/** Largest record that is read; Docker's own are a few KiB. */
const MAX_RECORD_BYTES = 16 * 1024 * 1024;

const strings = z.record(z.string(), z.string()).nullish();
const recordSchema = z.object({
  ID: z.string(),
  Name: z.string(),
  Image: z.string().optional(),
  Config: z.object({ Image: z.string().optional(), Labels: strings }),
  State: z.object({ Running: z.boolean().optional(), StartedAt: z.string().optional(), Pid: z.number().int().min(0).optional() }).nullish(),
  MountPoints: z.record(z.string(), z.object({ Destination: z.string().optional(), Name: z.string().optional(), Driver: z.string().optional(), ID: z.string().optional() })).nullish(),
  SecretReferences: z.array(z.object({
    SecretID: z.string().regex(/^[A-Za-z0-9]{1,64}$/),
    SecretName: z.string().max(256),
    // Absent for references without a file (runtime targets such as credential specs).
    File: z.object({ Name: z.string(), UID: z.string(), GID: z.string(), Mode: z.number().int() }).nullish(),
  })).nullish(),
});

/**
 * @param dockerRoot dockerd's data root, such as /var/lib/docker
 * @throws ERR_RUNTIME_BUNDLE when the record is missing or not understood
 */
export async function readContainerFacts(dockerRoot: string, id: string): Promise<ContainerFacts> {
  const path = join(dockerRoot, 'containers', id, 'config.v2.json');
  let record: z.infer<typeof recordSchema>;
  try {
    if ((await stat(path)).size > MAX_RECORD_BYTES) throw new Error('the file is too large');
    record = recordSchema.parse(JSON.parse(await readFile(path, 'utf8')));
    if (record.ID !== id) throw new Error('the file belongs to another container');
  } catch (error) {
    // The parser's own text could quote the file, and with it somebody's environment.
    throw new PurserError('ERR_RUNTIME_BUNDLE', 'the record of the container in Docker\'s data root cannot be read',
      { hint: `check that ${path} exists and that the agent runs on the host as root`, cause: error });
  }
  const startedAt = Date.parse(record.State?.StartedAt ?? '');
  return {
    container: { id, name: record.Name, image: record.Config.Image ?? '', imageId: record.Image, labels: record.Config.Labels ?? {} },
    swarmSecrets: (record.SecretReferences ?? []).flatMap((one) => swarmReference(one)),
    volumes: Object.values(record.MountPoints ?? {}).flatMap(({ Destination, Name, Driver, ID }) =>
      Driver === VOLUME_DRIVER && Name !== undefined && Destination !== undefined && /^[0-9a-f]{64}$/.test(ID ?? '') ? [{ name: Name, destination: Destination, mountId: ID! }] : []),
    isRunning: record.State?.Running === true,
    // Docker writes Go's zero time (year 1) for "never".
    startedAt: Number.isNaN(startedAt) || startedAt < 0 ? 0 : startedAt,
    pid: record.State?.Pid ?? 0,
  };
}

type RawReference = NonNullable<z.infer<typeof recordSchema>['SecretReferences']>[number];

function swarmReference({ SecretID, SecretName, File }: RawReference): SwarmSecretReference[] {
  if (!File) return [];
  return [{
    secretId: SecretID, secretName: SecretName,
    target: File.Name.startsWith('/') ? File.Name : `/run/secrets/${File.Name}`,
    uid: numeric(File.UID), gid: numeric(File.GID), mode: File.Mode & 0o777,
  }];
}

function numeric(text: string): number {
  return /^[0-9]{1,10}$/.test(text) ? Number(text) : 0;
}

// What the agent remembers of a container it serves: the workload and, per file, the reference, the target and the version
// held. No values. Kept in memory, and in `<state>/containers/<id>.json` (0600) so that a successor can follow rotations;
// the values themselves are in the filesystem's own log.

import { z } from 'zod';
import { workloadSchema } from '../wire/node-protocol.ts';
import { onRotateSchema } from './on-rotate.ts';

const version = z.number().int().min(0);

/** A secret that is in a file together with others. */
const heldSchema = z.strictObject({ reference: z.string().max(4096), path: z.string().max(4096), field: z.string().max(1024).optional(), version });
export type HeldSecret = Readonly<z.infer<typeof heldSchema>>;

const fileSchema = z.strictObject({
  /** Name in the container's tree, one path component; unique over both kinds. */
  name: z.string().min(1).max(255),
  /**
   * `hidden`: a value for a variable. `default`: a variable with the reference's own default. `absent`: an optional reference whose
   * secret does not exist, so there is no file.
   */
  kind: z.enum(['versioned', 'bound', 'hidden', 'default', 'absent']),
  /** Absolute path in the container, or `env:` and the variable with the value. */
  target: z.string().max(4096),
  source: z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('reference'), text: z.string().max(4096) }),
    z.strictObject({ type: z.literal('swarm'), name: z.string().max(256) }),
    // Rendered from `secrets`. Without `text` the template itself is in the core, and is the first of them. The file's own path is no
    // secret's, and its version counts renderings.
    z.strictObject({ type: z.literal('template'), origin: z.string().max(256), text: z.string().max(65_536).optional(), secrets: z.array(heldSchema) }),
    // A token that says who the container is; to be replaced at `refreshAt`, in milliseconds since the epoch.
    z.strictObject({ type: z.literal('identity'), audiences: z.array(z.string()), refreshAt: z.number().int() }),
  ]),
  /** The variable that names the file, when it was declared by one. */
  variable: z.string().optional(),
  /** The variable that the file stands for and that the container does not get. */
  replaces: z.string().optional(),
  path: z.string().max(4096),
  field: z.string().max(1024).optional(),
  /** Of a variable: what the main process started with. */
  version,
  /** The reference names one version, so rotations pass it by. */
  isPinned: z.boolean(),
});

/** A bind mount on the host that puts a live file over Docker's own secret file. */
const overMountSchema = z.strictObject({ name: z.string().min(1).max(255), over: z.string().startsWith('/').max(4096) });

const recordSchema = z.strictObject({
  workload: workloadSchema,
  dockerRoot: z.string().startsWith('/').optional(),
  /** Milliseconds since the epoch at which the grant was made; older events of Docker are about an earlier run. */
  grantedAt: z.number().int().min(0),
  files: z.array(fileSchema),
  overMounts: z.array(overMountSchema),
  /** What is done after files changed in place, and whether it is still to be done. */
  onRotate: onRotateSchema.optional(),
  isActionDue: z.boolean().optional(),
  /** Child processes do not show values in their environment blocks (`purser.env=strict`). */
  isStrict: z.literal(true).optional(),
  /** The files are those of a volume, in a tree of its own: one for each mount. `uses`: how often Docker has mounted and not unmounted it. */
  volume: z.strictObject({ name: z.string().max(256), mountId: z.string().regex(/^[0-9a-f]{64}$/), uses: z.number().int().min(1) }).optional(),
});

/** The file: what it is, then the record. */
export const containerFileSchema = z.strictObject({ format: z.literal(1), container: recordSchema });

export type GrantedFile = Readonly<z.infer<typeof fileSchema>>;
export type OverMount = Readonly<z.infer<typeof overMountSchema>>;
export type ContainerRecord = Readonly<Omit<z.infer<typeof recordSchema>, 'files' | 'overMounts'>> & {
  readonly files: readonly GrantedFile[];
  readonly overMounts: readonly OverMount[];
};

/** The tree that holds the record's files, which also names the record: the container's own, or that of a volume's mount. */
export function treeOf({ workload, volume }: Pick<ContainerRecord, 'workload' | 'volume'>): string {
  return volume?.mountId ?? workload.id;
}

/** The secrets behind a file: one, or those of its template. */
export function secretsOf(file: GrantedFile): readonly Pick<HeldSecret, 'path' | 'field' | 'version'>[] {
  return file.source.type === 'template' ? file.source.secrets : [file];
}

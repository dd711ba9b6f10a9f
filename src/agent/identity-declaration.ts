// The label `purser.identity=<audience>[,…]`: the container gets a token that says who it is, in one file that stays fresh. Pure.

import { AUDIENCE, MAX_AUDIENCES } from '../wire/node-protocol.ts';
import { invalidDeclaration } from './declaration-error.ts';

export const IDENTITY_LABEL = 'purser.identity';
export const IDENTITY_FILE = 'identity.jwt';
/** What the ledger calls it: the core's call, with the audiences as the field. */
export const IDENTITY_PATH = 'node/identity';

const ORIGIN = `label ${IDENTITY_LABEL}`;

/** An identity that a container asks for. */
export interface DeclaredIdentity {
  readonly audiences: readonly string[];
  /** Absolute path in the container. */
  readonly target: string;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly origin: string;
}

/**
 * @param owner the container's process user, who alone reads the token
 * @returns undefined when the container asks for none
 * @throws ERR_WORKLOAD_INVALID
 */
export function readIdentity(labels: Readonly<Record<string, string>>, directory: string, owner: { readonly uid: number; readonly gid: number }): DeclaredIdentity | undefined {
  const text = Object.hasOwn(labels, IDENTITY_LABEL) ? labels[IDENTITY_LABEL] : undefined;
  if (text === undefined) return undefined;
  const audiences = text.split(',').map((audience) => audience.trim());
  const hint = `write ${IDENTITY_LABEL}=<audience>[,<audience>…], such as https://api.internal`;
  if (!audiences.every((audience) => AUDIENCE.test(audience))) throw invalidDeclaration(ORIGIN, 'an audience is empty, longer than 256 characters, or has a space or a character outside ASCII', hint);
  if (audiences.length > MAX_AUDIENCES) throw invalidDeclaration(ORIGIN, `there are more than ${MAX_AUDIENCES} audiences`, hint);
  if (new Set(audiences).size !== audiences.length) throw invalidDeclaration(ORIGIN, 'an audience is there twice', hint);
  return { audiences, target: `${directory}/${IDENTITY_FILE}`, uid: owner.uid, gid: owner.gid, mode: 0o400, origin: ORIGIN };
}

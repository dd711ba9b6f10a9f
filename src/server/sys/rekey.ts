// sys/rekey/*: new shares and a new root key. Needs a token with sudo, unlike in old versions of Vault, where anyone could cancel
// the rekey of others or start one (CVE-2026-5807). Answers are bare JSON, as Vault's.

import type { JsonObject, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import type { Rekey } from '../../core/rekey.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, integerField, stringField } from '../../lib/fields.ts';
import { handedOut, refuseFields, SHARE_HINTS, withShare } from './share-field.ts';
import type { SysRoute } from './sys-engine.ts';

const MISSING_KEY = "'key' must be specified in request body as JSON";
const NO_BACKUP = async (): Promise<never> => {
  throw new PurserError('ERR_REQUEST_INVALID', 'there is no backup of the shares', { hint: 'the core keeps no share; ask those who hold them' });
};

export function rekeyRoutes(rekey: Rekey): SysRoute[] {
  const status = async (): Promise<LogicalResponse> => bare(statusBody(rekey));
  return [
    {
      path: 'rekey/init', needsSudo: true,
      operations: { read: status, update: ({ data }) => start(rekey, data), delete: () => rekey.cancel().then(() => undefined) },
    },
    { path: 'rekey/update', needsSudo: true, operations: { update: (request) => update(rekey, request) } },
    {
      path: 'rekey/verify', needsSudo: true,
      operations: {
        read: async () => bare(verificationBody(rekey)),
        update: ({ data }) => verify(rekey, data),
        delete: async () => { await rekey.restartVerification(); return bare(verificationBody(rekey)); },
      },
    },
    { path: 'rekey/backup', needsSudo: true, operations: { read: NO_BACKUP, delete: NO_BACKUP } },
  ];
}

async function start(rekey: Rekey, data: JsonObject): Promise<LogicalResponse> {
  refuseFields(data, SHARE_HINTS);
  const config = { shares: integerField(data, 'secret_shares') ?? 0, threshold: integerField(data, 'secret_threshold') ?? 0 };
  await rekey.start(config, booleanField(data, 'require_verification') ?? false);
  return bare(statusBody(rekey));
}

async function update(rekey: Rekey, { data }: LogicalRequest): Promise<LogicalResponse> {
  const nonce = stringField(data, 'nonce') ?? '';
  const { needsVerification } = rekey.status();
  const made = await withShare(data, MISSING_KEY, (share) => rekey.provide(share, nonce));
  if (made === undefined) return bare(statusBody(rekey));
  return bare({
    complete: true, nonce, ...handedOut(made), pgp_fingerprints: null, backup: false,
    verification_required: needsVerification, ...(needsVerification ? { verification_nonce: rekey.status().verificationNonce } : {}),
  });
}

async function verify(rekey: Rekey, data: JsonObject): Promise<LogicalResponse> {
  const nonce = stringField(data, 'nonce') ?? '';
  const isComplete = await withShare(data, MISSING_KEY, (share) => rekey.verify(share, nonce));
  return bare(isComplete ? { complete: true, nonce } : verificationBody(rekey));
}

function statusBody(rekey: Rekey): JsonObject {
  const { isStarted, nonce, shares, threshold, progress, required, needsVerification, verificationNonce } = rekey.status();
  return {
    started: isStarted, nonce, t: threshold, n: shares, progress, required, pgp_fingerprints: null, backup: false,
    verification_required: needsVerification, ...(verificationNonce === '' ? {} : { verification_nonce: verificationNonce }),
  };
}

function verificationBody(rekey: Rekey): JsonObject {
  const { nonce, threshold, shares, progress } = rekey.verification();
  return { started: true, nonce, t: threshold, n: shares, progress };
}

function bare(data: JsonObject): LogicalResponse {
  return { data, isBare: true };
}

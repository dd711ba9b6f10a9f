// sys/generate-root/*: a new root token by unseal shares. Needs a token with sudo; in recovery (`--allow-generate-root`), for when
// there is none left, it needs no token but a caller on the core's own host. Answers are bare JSON, as Vault's.

import type { JsonObject, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import type { RootGeneration } from '../../core/root-generation.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField } from '../../lib/fields.ts';
import { padText } from '../../lib/one-time-pad.ts';
import { randomBase62 } from '../../lib/random-id.ts';
import { isLoopback } from '../config.ts';
import { refuseFields, withShare } from './share-field.ts';
import type { SysHandler, SysRoute } from './sys-engine.ts';

/** `hvs.` and 24 characters. */
const TOKEN_LENGTH = 28;

export interface RootGenerationOptions {
  readonly generation: RootGeneration;
  readonly createRootToken: () => Promise<string>;
  /** The server was started to recover a core that nobody has a token for. */
  readonly isRecovery: boolean;
}

export function generateRootRoutes(options: RootGenerationOptions): SysRoute[] {
  const { generation } = options;
  const access = options.isRecovery ? { isOpen: true } : { needsSudo: true };
  const status = local(options, async () => bare(statusBody(generation)));
  const begin = local(options, ({ data }) => start(generation, data));
  const cancel = local(options, () => generation.cancel().then(() => undefined));
  return [
    { path: 'generate-root/attempt', ...access, operations: { read: status, update: begin, delete: cancel } },
    { path: 'generate-root/update', ...access, operations: { update: local(options, ({ data }) => update(options, data)) } },
  ];
}

/** In recovery, a stranger on the network must not even see, start or cancel an attempt. */
function local({ isRecovery }: RootGenerationOptions, handler: (request: LogicalRequest) => Promise<LogicalResponse | undefined>): SysHandler {
  return async (request) => {
    if (isRecovery && !isLoopback(request.remoteAddress.replace(/^::ffff:/, ''))) {
      throw new PurserError('ERR_REQUEST_DENIED', 'permission denied', { hint: 'while the server runs with --allow-generate-root, call it from its own host by a loopback address' });
    }
    return handler(request);
  };
}

async function start(generation: RootGeneration, data: JsonObject): Promise<LogicalResponse> {
  refuseFields(data, { pgp_key: 'leave it out: the token comes back under a one-time password' });
  const given = stringField(data, 'otp') ?? '';
  if (given !== '' && Buffer.byteLength(given) !== TOKEN_LENGTH) {
    throw new PurserError('ERR_REQUEST_INVALID', 'OTP string is wrong length', { hint: `give ${TOKEN_LENGTH} characters, or leave otp out and one is made` });
  }
  const otp = given === '' ? randomBase62(TOKEN_LENGTH) : given;
  await generation.start(otp);
  // A pad that the caller chose is not sent back.
  return bare({ ...statusBody(generation), otp: given === '' ? otp : '' });
}

async function update({ generation, createRootToken }: RootGenerationOptions, data: JsonObject): Promise<LogicalResponse> {
  const nonce = stringField(data, 'nonce') ?? '';
  const { required } = generation.status();
  const encoded = await withShare(data, "'key' must be specified in request body as JSON",
    (share) => generation.provide(share, nonce, async (pad) => padText(await createRootToken(), pad)));
  if (encoded === undefined) return bare(statusBody(generation));
  return bare({ ...statusBody(generation), started: true, nonce, progress: required, complete: true, encoded_token: encoded, encoded_root_token: encoded });
}

function statusBody(generation: RootGeneration): JsonObject {
  const { isStarted, nonce, progress, required } = generation.status();
  return {
    started: isStarted, nonce, progress, required, complete: false, encoded_token: '', encoded_root_token: '', pgp_fingerprint: '', otp: '', otp_length: TOKEN_LENGTH,
  };
}

function bare(data: JsonObject): LogicalResponse {
  return { data, isBare: true };
}

// The server's configuration: one frozen object, made from a JSON file and flags (flags win), checked here and nowhere
// else. Unknown keys are errors that name the key; values are never quoted. No environment variable is read.

import { readFileSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { parseDuration, parseDurationSeconds } from '../lib/duration.ts';
import { PurserError } from '../lib/errors.ts';
import { MAX_MOUNT_TTL_SECONDS, SYSTEM_TTLS, type Ttls } from './mount-config.ts';
import { notifySchema, type NotifyConfig } from './notify/targets.ts';

const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
const DEFAULT_DATA_DIRECTORY = '/var/lib/purser/server';
const DEFAULT_LISTEN = '127.0.0.1:8200';
const MAX_BODY_BYTES = 32 * 1024 * 1024;
const MEBIBYTE = 1024 * 1024;
const DAY_MS = 24 * 3600_000;

const path = z.string().min(1).max(4096).refine((text) => !text.includes('\0'), 'must not contain NUL');
const auditName = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 letters, digits, - or _');
const fileName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'must be a plain file name');

/** As Vault's: a text such as 768h, or seconds. */
const duration = z.union([z.string().min(1).max(32), z.number()]);

const fileSchema = z.strictObject({
  data_directory: path,
  listen: z.string(),
  public_address: z.string(),
  http: z.boolean(),
  tls: z.strictObject({ certificate: path, key: path }),
  tls_names: z.array(z.string().min(1).max(253)).max(64),
  auto_unseal_key_file: path,
  init_if_needed: z.boolean(),
  audit_directory: path,
  audit: z.array(z.strictObject({ name: auditName, file: fileName })).max(8),
  web: z.boolean(),
  log_level: z.enum(LOG_LEVELS),
  default_lease_ttl: duration,
  max_lease_ttl: duration,
  max_body_bytes: z.number().int().min(MEBIBYTE).max(256 * MEBIBYTE),
  allow_generate_root: z.boolean(),
  usage_history: z.string().max(32),
  unauthenticated_metrics: z.boolean(),
  notify: notifySchema,
  usage_history_bytes: z.number().int().min(16 * MEBIBYTE).max(Number.MAX_SAFE_INTEGER),
}).partial();
type FileConfig = z.infer<typeof fileSchema>;

const optionsSchema = z.strictObject({
  config: path,
  dataDir: path,
  listen: z.string(),
  publicAddress: z.string(),
  tlsCert: path,
  tlsKey: path,
  tlsName: z.array(z.string().min(1).max(253)).max(64),
  http: z.boolean(),
  autoUnsealKeyFile: path,
  initIfNeeded: z.boolean(),
  auditFile: path,
  replaceDamagedAudit: z.boolean(),
  allowGenerateRoot: z.boolean(),
  web: z.boolean(),
  logLevel: z.enum(LOG_LEVELS),
  dev: z.boolean(),
  devRootToken: z.string().regex(/^[\x21-\x7e]{4,256}$/, 'must be 4 to 256 printable characters without spaces'),
}).partial();

/** The flags of `purser server`, as the command line parsed them. */
export type ServerOptions = z.input<typeof optionsSchema>;

export interface Endpoint { readonly host: string; readonly port: number }

export interface AuditConfig {
  /** Where the files of devices enabled through the API must be, too. */
  readonly directory: string;
  /** Enabled at every start. */
  readonly devices: readonly { readonly name: string; readonly file: string }[];
  /** Sets a file aside that is missing, cut or changed, instead of refusing to start. */
  readonly replaceDamaged: boolean;
}

export interface ServerConfig {
  /** Undefined: nothing is kept (`--dev`). */
  readonly dataDirectory: string | undefined;
  readonly listen: Endpoint;
  /** URL under which nodes reach this core, without a trailing slash; undefined: derived from the listener. */
  readonly publicAddress: string | undefined;
  readonly tls:
    | { readonly kind: 'off' }
    | { readonly kind: 'files'; readonly certificate: string; readonly key: string }
    /** The server keeps its own CA; `names` are further names of its certificate. */
    | { readonly kind: 'own'; readonly names: readonly string[] };
  readonly autoUnseal: { readonly keyFile: string; readonly initIfNeeded: boolean } | undefined;
  readonly audit: AuditConfig | undefined;
  /** Serve the web page at /ui/. */
  readonly web: boolean;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly maxBodyBytes: number;
  /** How long tokens and leases live, where neither they nor their mount say so. */
  readonly ttls: Ttls;
  /** A root token can be made with unseal shares alone, from this host: for when every token is lost. */
  readonly allowGenerateRoot: boolean;
  /** How long, and how much of it, the history of usage is kept: milliseconds and bytes. */
  readonly usageHistory: { readonly maxAgeMs: number; readonly maxBytes: number };
  /** Who is told of refusals, canaries, lost nodes and stuck rotations. */
  readonly notify: NotifyConfig;
  /** sys/metrics needs no token. */
  readonly unauthenticatedMetrics: boolean;
  readonly dev: { readonly rootToken: string | undefined } | undefined;
}

/**
 * Reads the configuration file that `options` may name, and puts the flags above it.
 * @throws ERR_CONFIG_INVALID naming the key or flag at fault
 */
export function loadConfig(options: object): ServerConfig {
  const { config: file, ...flags } = check(optionsSchema, options, 'the options');
  const fromFile = file === undefined ? {} : readConfigFile(file);
  return buildConfig({ ...fromFile, ...flagsAsConfig(flags, fromFile) }, flags);
}

function readConfigFile(file: string): FileConfig {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? 'is not valid JSON' : `cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown error'})`;
    throw invalid(`the configuration file ${file} ${reason}`);
  }
  return check(fileSchema, value, file);
}

function flagsAsConfig(flags: Omit<ServerOptions, 'config'>, file: FileConfig): FileConfig {
  if ((flags.tlsCert === undefined) !== (flags.tlsKey === undefined)) throw invalid('--tls-cert and --tls-key belong together');
  const given: { [K in keyof FileConfig]: FileConfig[K] | undefined } = {
    data_directory: flags.dataDir, listen: flags.listen, public_address: flags.publicAddress, http: flags.http,
    tls: flags.tlsCert !== undefined && flags.tlsKey !== undefined ? { certificate: flags.tlsCert, key: flags.tlsKey } : undefined,
    tls_names: flags.tlsName === undefined ? undefined : [...flags.tlsName, ...(file.tls_names ?? [])],
    auto_unseal_key_file: flags.autoUnsealKeyFile, init_if_needed: flags.initIfNeeded, log_level: flags.logLevel, allow_generate_root: flags.allowGenerateRoot,
    web: flags.web === false ? false : undefined,
    ...(flags.auditFile === undefined ? {} : auditFromFile(flags.auditFile)),
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

function auditFromFile(file: string): Pick<FileConfig, 'audit' | 'audit_directory'> {
  const absolute = resolve(file);
  const name = absolute.slice(dirname(absolute).length).replace(/^\/+/, '');
  if (!fileName.safeParse(name).success) throw invalid('--audit-file must name a plain file');
  return { audit_directory: dirname(absolute), audit: [{ name: 'file', file: name }] };
}

function buildConfig(file: FileConfig, flags: ServerOptions): ServerConfig {
  const isDev = flags.dev === true;
  if (flags.devRootToken !== undefined && !isDev) throw invalid('--dev-root-token needs --dev');
  if (isDev) refuseWithDev(file);
  if (file.init_if_needed === true && file.auto_unseal_key_file === undefined) throw invalid('--init-if-needed needs --auto-unseal-key-file');
  const listen = parseEndpoint(file.listen ?? DEFAULT_LISTEN);
  const dataDirectory = isDev ? undefined : resolve(file.data_directory ?? DEFAULT_DATA_DIRECTORY);
  return deepFreeze<ServerConfig>({
    dataDirectory, listen,
    publicAddress: file.public_address === undefined ? undefined : parsePublicAddress(file.public_address),
    tls: tlsOf(file, listen, isDev),
    autoUnseal: file.auto_unseal_key_file === undefined ? undefined : { keyFile: resolve(file.auto_unseal_key_file), initIfNeeded: file.init_if_needed ?? false },
    audit: auditOf(file, dataDirectory, flags.replaceDamagedAudit ?? false),
    web: file.web ?? true,
    logLevel: file.log_level ?? 'info',
    maxBodyBytes: file.max_body_bytes ?? MAX_BODY_BYTES,
    ttls: ttlsOf(file),
    allowGenerateRoot: file.allow_generate_root ?? false,
    notify: file.notify ?? [],
    unauthenticatedMetrics: file.unauthenticated_metrics ?? false,
    usageHistory: { maxAgeMs: parseHistoryAge(file.usage_history ?? '90d'), maxBytes: file.usage_history_bytes ?? 2048 * MEBIBYTE },
    dev: isDev ? { rootToken: flags.devRootToken } : undefined,
  });
}

function refuseWithDev(file: FileConfig): void {
  for (const key of ['data_directory', 'auto_unseal_key_file', 'init_if_needed', 'tls', 'tls_names'] as const) {
    if (file[key] !== undefined) throw invalid(`${key} cannot be combined with --dev, which keeps nothing and has no TLS`);
  }
}

function tlsOf(file: FileConfig, listen: Endpoint, isDev: boolean): ServerConfig['tls'] {
  if (isDev || file.http === true) {
    if (file.tls !== undefined) throw invalid('http and tls cannot be combined');
    if (!isLoopback(listen.host)) {
      throw new PurserError('ERR_CONFIG_INVALID', 'plain HTTP is allowed on a loopback address only', { hint: 'listen on 127.0.0.1, or leave --http out: the server makes its own certificate' });
    }
    return { kind: 'off' };
  }
  if (file.tls !== undefined) return { kind: 'files', certificate: resolve(file.tls.certificate), key: resolve(file.tls.key) };
  return { kind: 'own', names: (file.tls_names ?? []).map(checkName) };
}

function auditOf(file: FileConfig, dataDirectory: string | undefined, replaceDamaged: boolean): ServerConfig['audit'] {
  const directory = file.audit_directory ?? (dataDirectory === undefined ? undefined : join(dataDirectory, 'audit'));
  if (directory === undefined) {
    if ((file.audit ?? []).length > 0) throw invalid('audit needs audit_directory when there is no data directory');
    return undefined;
  }
  const devices = file.audit ?? [{ name: 'file', file: 'audit.log' }];
  for (const key of ['name', 'file'] as const) {
    if (new Set(devices.map((device) => device[key])).size < devices.length) throw invalid(`audit: two devices have the same ${key}`);
  }
  return { directory: resolve(directory), devices, replaceDamaged };
}

function parseEndpoint(text: string): Endpoint {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535 || (match?.[1] !== undefined && isIP(host) !== 6)) throw invalid('listen must be ADDRESS:PORT, such as 127.0.0.1:8200 or [::1]:8200');
  return { host, port };
}

function ttlsOf(file: FileConfig): Ttls {
  const max = parseTtl('max_lease_ttl', file.max_lease_ttl) ?? SYSTEM_TTLS.maxTtlSeconds;
  const byDefault = parseTtl('default_lease_ttl', file.default_lease_ttl) ?? Math.min(SYSTEM_TTLS.defaultTtlSeconds, max);
  if (byDefault > max) throw invalid('default_lease_ttl cannot be greater than max_lease_ttl');
  return { defaultTtlSeconds: byDefault, maxTtlSeconds: max };
}

function parseTtl(key: string, value: string | number | undefined): number | undefined {
  if (value === undefined) return undefined;
  try {
    const seconds = parseDurationSeconds(value);
    if (seconds >= 1 && seconds <= MAX_MOUNT_TTL_SECONDS) return seconds;
  } catch {
    // Said below.
  }
  throw invalid(`${key} must be a duration of one second to ten years, such as 768h`);
}

function parseHistoryAge(text: string): number {
  try {
    const milliseconds = parseDuration(text);
    if (milliseconds >= DAY_MS) return milliseconds;
  } catch {
    // Said below.
  }
  throw invalid('usage_history must be a duration of at least one day, such as 90d');
}

function parsePublicAddress(text: string): string {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '' || url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw invalid('public_address must be a URL such as https://core.example:8200');
  }
  return url.origin;
}

function checkName(name: string): string {
  if (isIP(name) === 0 && !/^(?=.{1,253}$)(?:\*\.)?[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*$/.test(name)) throw invalid('tls_names: each must be a host name or an IP address');
  return name.toLowerCase();
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** True for addresses that only this machine reaches. */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  return family === 0 ? host === 'localhost' : loopback.check(host, family === 6 ? 'ipv6' : 'ipv4');
}

/** The URL to write into join tokens and messages when none is configured. */
export function defaultAddress(config: ServerConfig, port: number): string {
  const { host } = config.listen;
  const name = host === '0.0.0.0' || host === '::' ? hostname() : isIP(host) === 6 ? `[${host}]` : host;
  return `${config.tls.kind === 'off' ? 'http' : 'https'}://${name}:${port}`;
}

function check<T>(schema: z.ZodType<T>, value: unknown, source: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  if (issue.code === 'unrecognized_keys') throw invalid(`${source}: unknown key ${issue.keys.map((key) => JSON.stringify(key)).join(', ')}`);
  throw invalid(`${source}: ${issue.path.length > 0 ? `${issue.path.join('.')}: ` : ''}${issue.message.toLowerCase()}`);
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_CONFIG_INVALID', message, { hint: 'see purser server --help' });
}

function deepFreeze<T>(value: T): T {
  if (value !== null && typeof value === 'object') Object.values(value).forEach(deepFreeze);
  return Object.freeze(value);
}

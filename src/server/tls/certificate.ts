// Issues the two kinds of X.509 certificates (RFC 5280) that the server needs: its own CA and its server certificate.
// ECDSA P-256 with SHA-256, random 128-bit serials, and only the extensions that TLS clients check.

import { createHash, createPublicKey, generateKeyPairSync, randomBytes, sign, X509Certificate, type KeyObject } from 'node:crypto';
import { isIP, isIPv4 } from 'node:net';
import { bitString, boolean, context, integer, objectIdentifier, octetString, sequence, set, time, utf8String } from './der.ts';

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2', commonName: '2.5.4.3', serverAuth: '1.3.6.1.5.5.7.3.1',
  subjectKeyIdentifier: '2.5.29.14', keyUsage: '2.5.29.15', subjectAltName: '2.5.29.17', basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35', extendedKeyUsage: '2.5.29.37',
} as const;
const DAY_MILLISECONDS = 86_400_000;
const CA_DAYS = 3_650;
const SERVER_DAYS = 365;
/** Clocks of clients may be a little behind. */
const BACKDATE_MILLISECONDS = 5 * 60_000;

/** A certificate with its private key, both PEM. */
export interface Issued { readonly certificate: string; readonly key: string }

/** A new CA, good for ten years, that may only sign end-entity certificates. */
export function issueAuthority(now: number): Issued {
  const { privateKey, publicKey } = newKey();
  const name = distinguishedName(`Purser CA ${randomBytes(4).toString('hex')}`);
  const certificate = signCertificate({
    issuer: name, subject: name, publicKey, signingKey: privateKey, authorityKey: publicKey, now, days: CA_DAYS,
    extensions: [
      extension(OID.basicConstraints, sequence(boolean(true), integer(Buffer.of(0))), 'critical'),
      extension(OID.keyUsage, bitString(Buffer.of(0b0000_0110), 1), 'critical'), // keyCertSign, cRLSign
    ],
  });
  return { certificate, key: pemOf(privateKey) };
}

/**
 * A server certificate for `names` (host names and IP addresses), good for one year.
 * @param authority a CA made by issueAuthority(), as the key that signs and its certificate
 */
export function issueServerCertificate(authority: { readonly certificate: X509Certificate; readonly key: KeyObject }, names: readonly string[], now: number): Issued {
  const { privateKey, publicKey } = newKey();
  const certificate = signCertificate({
    issuer: distinguishedName(authority.certificate.subject.replace(/^CN=/, '')), subject: distinguishedName('Purser server'),
    publicKey, signingKey: authority.key, authorityKey: authority.certificate.publicKey, now, days: SERVER_DAYS,
    extensions: [
      extension(OID.basicConstraints, sequence(), 'critical'),
      extension(OID.keyUsage, bitString(Buffer.of(0b1000_0000), 7), 'critical'), // digitalSignature
      extension(OID.extendedKeyUsage, sequence(objectIdentifier(OID.serverAuth))),
      extension(OID.subjectAltName, sequence(...names.map(generalName))),
    ],
  });
  return { certificate, key: pemOf(privateKey) };
}

interface Blueprint {
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly signingKey: KeyObject;
  readonly authorityKey: KeyObject;
  readonly now: number;
  readonly days: number;
  readonly extensions: readonly Buffer[];
}

function signCertificate(blueprint: Blueprint): string {
  const algorithm = sequence(objectIdentifier(OID.ecdsaWithSha256));
  const serial = randomBytes(16);
  serial[0]! &= 0x7f;
  const toBeSigned = sequence(
    context(0, integer(Buffer.of(2)), 'constructed'),
    integer(serial), algorithm, blueprint.issuer,
    sequence(time(new Date(blueprint.now - BACKDATE_MILLISECONDS)), time(new Date(blueprint.now + blueprint.days * DAY_MILLISECONDS))),
    blueprint.subject, spki(blueprint.publicKey),
    context(3, sequence(
      ...blueprint.extensions,
      extension(OID.subjectKeyIdentifier, octetString(keyIdentifier(blueprint.publicKey))),
      extension(OID.authorityKeyIdentifier, sequence(context(0, keyIdentifier(blueprint.authorityKey), 'primitive'))),
    ), 'constructed'),
  );
  const signature = sign('sha256', toBeSigned, blueprint.signingKey);
  return new X509Certificate(sequence(toBeSigned, algorithm, bitString(signature))).toString();
}

function newKey(): { privateKey: KeyObject; publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
}

function pemOf(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'pkcs8' }) as string;
}

function spki(key: KeyObject): Buffer {
  return createPublicKey({ key: key.export({ format: 'jwk' }), format: 'jwk' }).export({ format: 'der', type: 'spki' });
}

/** RFC 7093 section 2, method 1, over the whole SubjectPublicKeyInfo: any stable 160 bits do. */
function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha256').update(spki(key)).digest().subarray(0, 20);
}

function distinguishedName(commonName: string): Buffer {
  return sequence(set(sequence(objectIdentifier(OID.commonName), utf8String(commonName))));
}

function extension(oid: string, value: Buffer, critical?: 'critical'): Buffer {
  return sequence(objectIdentifier(oid), ...(critical === undefined ? [] : [boolean(true)]), octetString(value));
}

function generalName(name: string): Buffer {
  return isIP(name) === 0 ? context(2, Buffer.from(name, 'ascii'), 'primitive') : context(7, addressBytes(name), 'primitive');
}

/** The 4 or 16 bytes of an IP address; IPv6 through the URL parser, which writes out the canonical form. */
export function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [left = '', right] = canonical.split('::');
  const groups = (text: string | undefined): string[] => (text === undefined || text === '' ? [] : text.split(':'));
  const missing = 8 - groups(left).length - groups(right).length;
  const all = [...groups(left), ...Array<string>(right === undefined ? 0 : missing).fill('0'), ...groups(right)];
  return Buffer.from(all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]));
}

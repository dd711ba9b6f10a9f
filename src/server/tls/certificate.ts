// Issues the two kinds of X.509 certificates (RFC 5280) that the server needs: its own CA and its server certificate.
// ECDSA P-256 with SHA-256, random 127-bit serials, and only the extensions that TLS clients check.

import { KeyObject, randomBytes, webcrypto, type X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';

// @peculiar/x509 registers its parts by decorators, which need this before it loads.
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MILLISECONDS = 86_400_000;
const CA_DAYS = 3_650;
const SERVER_DAYS = 365;
/** Clocks of clients may be a little behind. */
const BACKDATE_MILLISECONDS = 5 * 60_000;

/** A certificate with its private key, both PEM. */
export interface Issued { readonly certificate: string; readonly key: string }

/** A new CA, good for ten years, that may only sign end-entity certificates. */
export async function issueAuthority(now: number): Promise<Issued> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...common(now, CA_DAYS), name: `CN=Purser CA ${randomBytes(4).toString('hex')}`, keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return issued(certificate, keys);
}

/**
 * A server certificate for `names` (host names and IP addresses), good for one year.
 * @param authority a CA made by issueAuthority(), as the key that signs and its certificate
 */
export async function issueServerCertificate(authority: { readonly certificate: X509Certificate; readonly key: KeyObject }, names: readonly string[], now: number): Promise<Issued> {
  const keys = await newKeys();
  const issuer = new x509.X509Certificate(authority.certificate.raw);
  const signingKey = await webcrypto.subtle.importKey('pkcs8', authority.key.export({ format: 'der', type: 'pkcs8' }), ALGORITHM, false, ['sign']);
  const certificate = await x509.X509CertificateGenerator.create({
    ...common(now, SERVER_DAYS), subject: 'CN=Purser server', issuer: issuer.subject, publicKey: keys.publicKey, signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names.map((name) => ({ type: isIP(name) === 0 ? 'dns' : 'ip', value: name }))),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return issued(certificate, keys);
}

function common(now: number, days: number): Pick<x509.X509CertificateCreateParams, 'serialNumber' | 'notBefore' | 'notAfter' | 'signingAlgorithm'> {
  const serial = randomBytes(16);
  serial[0]! &= 0x7f;
  return {
    serialNumber: serial.toString('hex'), notBefore: new Date(now - BACKDATE_MILLISECONDS), notAfter: new Date(now + days * DAY_MILLISECONDS), signingAlgorithm: ALGORITHM,
  };
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

function issued(certificate: x509.X509Certificate, keys: webcrypto.CryptoKeyPair): Issued {
  return { certificate: `${certificate.toString('pem')}\n`, key: KeyObject.from(keys.privateKey).export({ format: 'pem', type: 'pkcs8' }) as string };
}

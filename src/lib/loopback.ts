// Addresses of this machine, for plain HTTP that must not leave it.

import { lookup as systemLookup } from 'node:dns';
import { BlockList, isIP, isIPv4 } from 'node:net';
import type { LookupFunction } from 'node:net';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** True for an address of this machine. */
export function isLoopback(address: string): boolean {
  return isIP(address) !== 0 && loopback.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

/** As isLoopback, and for the name that stands for it. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || isLoopback(host);
}

/** A resolver that refuses to leave the machine: /etc/hosts or DNS may say anything about `localhost`. */
export const loopbackLookup: LookupFunction = (host, options, callback) => {
  systemLookup(host, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return callback(error, []);
    const local = addresses.filter(({ address }) => isLoopback(address));
    const [first] = local;
    if (first === undefined) return callback(new Error(`${host} is not an address of this machine`), []);
    return options.all === true ? callback(null, local) : callback(null, first.address, first.family);
  });
};

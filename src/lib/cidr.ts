// Ranges of IP addresses in CIDR notation (RFC 4632, RFC 4291 section 2.3), for what is bound to where a request comes from. An
// IPv4 address that arrives as IPv4-mapped IPv6 (::ffff:192.0.2.1) is the IPv4 address. Matching is Node's BlockList.

import { BlockList, isIP } from 'node:net';

import { PurserError } from './errors.ts';

const MAX_RANGES = 64;
const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** A compiled list of ranges. */
export interface AddressRanges {
  /** False too for what is no address. */
  includes(address: string): boolean;
}

/** One range, checked. */
interface Range { readonly address: string; readonly length: number; readonly family: 'ipv4' | 'ipv6' }

/**
 * Compiles `192.0.2.0/24`, `2001:db8::/32`, or single addresses.
 * @param what names the list in the error
 * @throws ERR_REQUEST_INVALID for anything else, and for more than 64 ranges
 */
export function addressRanges(cidrs: readonly string[], what: string): AddressRanges {
  // Apart, because a BlockList lets an IPv6 range hold the mapped form of an IPv4 address.
  const ranges = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const { address, length, family } of parse(cidrs, what)) ranges[family].addSubnet(address, length, family);
  return {
    includes: (given) => {
      const address = MAPPED.exec(given)?.[1] ?? given;
      const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
      return isIP(address) !== 0 && ranges[family].check(address, family);
    },
  };
}

/**
 * True when `limits` is empty or each of the ranges lies whole in one of them.
 * @param what names the ranges in the error
 * @throws ERR_REQUEST_INVALID as addressRanges
 */
export function areWithin(cidrs: readonly string[], limits: readonly string[], what: string): boolean {
  const ranges = parse(cidrs, what);
  const allowed = parse(limits, 'the limits').map((limit) => ({ ...limit, range: addressRanges([`${limit.address}/${limit.length}`], 'the limits') }));
  return limits.length === 0 || ranges.every(({ address, length, family }) =>
    allowed.some((limit) => limit.family === family && limit.length <= length && limit.range.includes(address)));
}

function parse(cidrs: readonly string[], what: string): Range[] {
  if (cidrs.length > MAX_RANGES) throw invalid(what, `at most ${MAX_RANGES} ranges`);
  return cidrs.map((cidr) => {
    const [, address = '', , bits] = /^([0-9a-fA-F.:]{2,45})(\/(\d{1,3}))?$/.exec(cidr) ?? [];
    const width = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : 0;
    const length = bits === undefined ? width : Number(bits);
    if (width === 0 || length > width) throw invalid(what, 'a list of ranges such as 192.0.2.0/24 or 2001:db8::/32');
    return { address, length, family: width === 32 ? 'ipv4' : 'ipv6' };
  });
}

/** Compiled once per list: lists live as long as the record they come from. */
const compiled = new WeakMap<readonly string[], AddressRanges>();

/** True when `cidrs` is empty or one of its ranges holds `address`. */
export function isWithin(address: string, cidrs: readonly string[]): boolean {
  if (cidrs.length === 0) return true;
  let ranges = compiled.get(cidrs);
  if (ranges === undefined) compiled.set(cidrs, ranges = addressRanges(cidrs, 'the list of ranges'));
  return ranges.includes(address);
}

function invalid(what: string, expected: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', `${what} must be ${expected}`);
}
